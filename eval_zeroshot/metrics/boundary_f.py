"""DAVIS's boundary measure: how well the outlines of two masks lie on each other."""

import math

import numpy as np
from scipy.ndimage import distance_transform_edt

TOLERANCE = 0.008  # of the image's diagonal, rounded up to whole pixels


def outline(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool -> (H, W) bool: pixels that differ from the one to the east, south or south-east.

    Along the last row and column only the neighbour within it counts, so that the image's border is no outline.
    Source: David Martin's `seg2bmap`, which davis2017-evaluation uses.
    """
    edge = np.zeros_like(mask, bool)
    edge[:-1, :-1] = (
        (mask[:-1, :-1] != mask[:-1, 1:]) | (mask[:-1, :-1] != mask[1:, :-1]) | (mask[:-1, :-1] != mask[1:, 1:])
    )
    edge[-1, :-1] = mask[-1, :-1] != mask[-1, 1:]
    edge[:-1, -1] = mask[:-1, -1] != mask[1:, -1]
    return edge


def boundary_f(prediction: np.ndarray, truth: np.ndarray, *, tolerance: float = TOLERANCE) -> float:
    """F of the outlines' pixels that have a pixel of the other outline within the tolerance.

    Source: davis2017-evaluation, `f_measure`, which dilates the outlines by a disk: the same pixels.
    No outline in either is 1. With an outline in only one of them precision and recall are 1 and 0, hence F 0.

    Args:
        prediction: (H, W) bool.
        truth: (H, W) bool.
        tolerance: share of the diagonal; the distance is rounded up to whole pixels and taken as Euclidean.

    Raises:
        ValueError: the masks are of different sizes.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of {prediction.shape} and {truth.shape} (height, width) cannot be compared")
    pixels = math.ceil(tolerance * math.hypot(*truth.shape))
    ours, theirs = outline(prediction), outline(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = float((distance_transform_edt(~theirs)[ours] <= pixels).mean())
    recall = float((distance_transform_edt(~ours)[theirs] <= pixels).mean())
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)
