"""What asking on a grid of points needs, for edges and for everything: the grid, boxes of many masks, duplicates removed."""

import numpy as np
import torch
from torchvision.ops import nms

from encoders.geometry import Shape


def point_grid(shape: Shape, *, per_side: int) -> np.ndarray:
    """(per_side², 2) float64 xy: the centres of equal cells, in pixels. Source: segment-anything, `build_point_grid`."""
    ticks = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(ticks * shape[1], ticks * shape[0])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool, none empty -> (N, 4) float32 xyxy of the first and last pixels, both inclusive.

    Source: segment-anything, `batched_mask_to_box`.
    """
    ends = []
    for axis in (1, 2):  # (N, W) columns, then (N, H) rows
        line = np.asarray(masks.any(axis=axis))
        ends += [line.argmax(axis=1), line.shape[1] - 1 - line[:, ::-1].argmax(axis=1)]
    return np.stack([ends[0], ends[2], ends[1], ends[3]], axis=1).astype(np.float32)


def distinct_boxes(boxes: np.ndarray, scores: np.ndarray, *, iou: float) -> np.ndarray:
    """Indices, best score first, of what greedy non-maximum suppression leaves: no two boxes overlap by more than `iou`.

    Args:
        boxes: (N, 4) float32 xyxy.
        scores: (N,) float32.
    """
    return np.asarray(nms(torch.from_numpy(boxes), torch.from_numpy(scores), iou).numpy())
