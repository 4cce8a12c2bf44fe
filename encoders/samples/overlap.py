"""Intersection over union of masks and of boxes."""

import numpy as np
import torch
from torchvision.ops import box_iou as torchvision_box_iou


def mask_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of masks, (..., H, W) bool each, leading dimensions broadcast -> (...) float64.

    Two empty masks agree: 0/0 is 1.0. (EdgeSAM's evaluation makes it NaN and drops it from the mean, so that a model is
    not credited for a right empty answer and n shrinks in silence.)

    Raises:
        ValueError: the masks are of images of different sizes.
    """
    if first.shape[-2:] != second.shape[-2:]:
        raise ValueError(f"masks of {first.shape[-2:]} and {second.shape[-2:]} (height, width) cannot be compared")
    first, second = np.broadcast_arrays(first, second)
    overlap, union = (np.zeros(first.shape[:-2], np.int64) for _ in range(2))
    for index in np.ndindex(*overlap.shape):  # one pair at a time stays in the cache: ten times as fast as all at once
        one, other = first[index], second[index]
        overlap[index] = np.count_nonzero(np.logical_and(one, other))
        union[index] = np.count_nonzero(one) + np.count_nonzero(other) - overlap[index]
    return iou_of_counts(overlap, union)


def iou_of_counts(overlap: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Intersection over union of masks by their numbers of pixels, float64; 0/0 is 1.0, see `mask_iou`."""
    return np.where(union == 0, 1.0, overlap / np.maximum(union, 1))


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, (P, 4) and (G, 4) xyxy -> (P, G) float64; of two without a size it is 0."""
    pair = (torch.from_numpy(np.array(boxes, np.float64).reshape(-1, 4)) for boxes in (first, second))
    return np.nan_to_num(torchvision_box_iou(*pair).numpy())
