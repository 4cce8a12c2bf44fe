"""Prompts drawn from masks: jittered boxes, points inside, the next click where a prediction is wrong.

Everything is in pixels of the input frame (S x S), xy and xyxy; randomness comes from a generator the caller seeds.
"""

import numpy as np
import torch
from torch import Tensor

BOX_JITTER = 0.1  # standard deviation as a share of the side; SAM paper, appendix A
BOX_JITTER_MAX = 20.0  # pixels at image size 1024; SAM paper, appendix A


def jitter_box(box: np.ndarray, *, image_size: int, rng: np.random.Generator) -> np.ndarray:
    """(4,) xyxy -> a box with each coordinate shifted as in SAM's training: sigma 10 % of the side, at most 20 / 1024 S."""
    limit = BOX_JITTER_MAX * image_size / 1024
    sides = np.tile(box[2:] - box[:2], 2)
    shift = np.clip(rng.normal(0.0, BOX_JITTER * sides), -limit, limit)
    x0, y0, x1, y1 = np.clip(box + shift, 0, image_size)
    return np.asarray([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)], np.float32)


def point_inside(mask: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool, not empty -> (2,) float32 xy of a random pixel of the mask."""
    pixels = np.flatnonzero(mask)
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), mask.shape[1])
    return np.asarray([column, row], np.float32)


def error_clicks(prediction: Tensor, target: Tensor, *, stride: int, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """One uniform random click in the error region of each prediction.

    Args:
        prediction, target: (P, h, w) bool, at `stride` pixels of the input frame a cell.
        seeds: (P,) int64, one for each prompt, so that a click does not depend on what else is in the batch.

    Returns:
        points (P, 1, 2) float xy in the input frame, cell centres; labels (P, 1): 1 where the target was missed, 0 where
        the prediction spills over, -1 (no point) where there is no error.
    """
    count, _, width = prediction.shape
    error = (prediction ^ target).flatten(1)
    noise = torch.stack([torch.rand(error.shape[1], generator=torch.Generator().manual_seed(s)) for s in seeds.tolist()])
    weights = (1 + noise).to(error.device) * error
    cell = weights.argmax(dim=1)
    rows, columns = cell // width, cell % width
    points = torch.stack([columns, rows], dim=-1).float() * stride + (stride - 1) / 2
    labels = target.flatten(1)[torch.arange(count, device=cell.device), cell].long()
    labels[~error.any(dim=1)] = -1
    return points[:, None], labels[:, None]
