"""Where a simulated user clicks.

Points are xy in pixels, integer pixel indices as floats: (3, 1) is the centre of the fourth pixel of the second row, as
in segment-anything, whose prompt encoder adds the half pixel itself.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt

from encoders.geometry import mask_box
from encoders.prompts import BACKGROUND, FOREGROUND, PADDING, Prompts

NO_CLICK = PADDING  # the label of a point that says nothing


class Click(NamedTuple):
    """A point in pixels of the photo and its label: 1 adds to the mask, 0 takes away, -1 says nothing."""

    x: float
    y: float
    label: int


def deepest_pixel(region: np.ndarray, *, avoid: Iterable[Click] = ()) -> tuple[float, int, int] | None:
    """The pixel of a region farthest from its boundary; None for an empty region, or one with all pixels avoided.

    Outside the image counts as outside the region. Of equals, the first in row-major order.

    Args:
        region: (H, W) bool.
        avoid: pixels that are not chosen; they still belong to the region.

    Returns:
        (Euclidean distance to the nearest pixel outside, in pixels; x; y).
    """
    if not region.any():
        return None
    # Only the region's own bounding box matters: everything around it is outside, as the padding is.
    left, top, right, bottom = mask_box(region).astype(int)
    crop = region[top:bottom, left:right]
    distance = distance_transform_edt(np.pad(crop, 1))[1:-1, 1:-1]
    for click in avoid:
        if left <= click.x < right and top <= click.y < bottom:
            distance[int(click.y) - top, int(click.x) - left] = 0
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    if distance[y, x] == 0:
        return None
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


def next_click(truth: np.ndarray, prediction: np.ndarray, *, avoid: Iterable[Click] = ()) -> Click | None:
    """The click that corrects the largest error: the pixel farthest from the boundary of an error region.

    Missing object (label 1) and surplus mask (label 0) are looked at apart, the deeper one wins, and a tie goes to the
    surplus, as in RITM's clicker, which EfficientViT-SAM's evaluation uses too. None where nothing is wrong.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        avoid: pixels that are not clicked again.
    """
    avoid = list(avoid)
    missing, surplus = (deepest_pixel(wrong, avoid=avoid) for wrong in (truth & ~prediction, prediction & ~truth))
    if missing is None and surplus is None:
        return None
    if surplus is None or (missing is not None and missing[0] > surplus[0]):
        assert missing is not None
        return Click(float(missing[1]), float(missing[2]), FOREGROUND)
    return Click(float(surplus[1]), float(surplus[2]), BACKGROUND)


def click_prompts(history: Sequence[Sequence[Click]]) -> Prompts:
    """P click sequences of equal length N as prompts, float32 and int64."""
    clicks = np.asarray(history, np.float32)
    return Prompts(points=clicks[..., :2], labels=clicks[..., 2].astype(np.int64))


def point_prompts(points: np.ndarray) -> Prompts:
    """(P, 2) xy in pixels of the photo as P prompts, one foreground click each."""
    return Prompts(points=points[:, None], labels=np.full((len(points), 1), FOREGROUND, np.int64))
