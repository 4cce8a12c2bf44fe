"""Where a simulated user clicks.

Points are xy in pixels, integer pixel indices as floats: (3, 1) is the centre of the fourth pixel of the second row, as
in segment-anything, whose prompt encoder adds the half pixel itself.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt

from encoders.geometry import mask_box

FOREGROUND, BACKGROUND = 1, 0


class Click(NamedTuple):
    """A point in pixels of the photo and its label: 1 adds to the mask, 0 takes away."""

    x: float
    y: float
    label: int


def deepest_pixel(region: np.ndarray) -> tuple[float, int, int] | None:
    """The pixel of a region farthest from its boundary; None for an empty region.

    Outside the image counts as outside the region. Of equals, the first in row-major order.

    Args:
        region: (H, W) bool.

    Returns:
        (Euclidean distance to the nearest pixel outside, in pixels; x; y).
    """
    if not region.any():
        return None
    # Only the region's own bounding box matters: everything around it is outside, as the padding is.
    left, top, right, bottom = mask_box(region).astype(int)
    crop = region[top:bottom, left:right]
    distance = distance_transform_edt(np.pad(crop, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(distance[y, x]), int(left + x), int(top + y)


def centre_point(mask: np.ndarray) -> Click:
    """The first click on an object: its pixel farthest from its boundary (SAM, section 7.1).

    Args:
        mask: (H, W) bool, not empty.

    Raises:
        ValueError: the mask is empty.
    """
    deepest = deepest_pixel(mask)
    if deepest is None:
        raise ValueError("an empty mask has no pixel to click")
    _, x, y = deepest
    return Click(float(x), float(y), FOREGROUND)


def next_click(truth: np.ndarray, prediction: np.ndarray) -> Click | None:
    """The click that corrects the largest error: the pixel farthest from the boundary of an error region.

    Missing object (label 1) and surplus mask (label 0) are looked at apart, the deeper one wins, and a tie goes to the
    surplus, as in RITM's clicker, which EfficientViT-SAM's evaluation uses too. None where nothing is wrong.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
    """
    missing, surplus = deepest_pixel(truth & ~prediction), deepest_pixel(prediction & ~truth)
    if missing is None and surplus is None:
        return None
    if surplus is None or (missing is not None and missing[0] > surplus[0]):
        assert missing is not None
        return Click(float(missing[1]), float(missing[2]), FOREGROUND)
    return Click(float(surplus[1]), float(surplus[2]), BACKGROUND)
