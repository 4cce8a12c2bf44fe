"""Pure functions from masks and numbers to numbers."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = ("small", "medium", "large")
SMALL_AREA_PIXELS = 32**2
MEDIUM_AREA_PIXELS = 96**2


def mean_and_error(values: Sequence[float] | np.ndarray) -> tuple[float | None, float | None]:
    """Mean, and its standard error s / sqrt(n) with s the sample deviation (n - 1).

    The error treats the values as independent; objects of one photo are not quite, so it is a lower bound.
    A mean of nothing is None, and so is the error of fewer than two values.
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return None, None
    mean = float(array.mean())
    if array.size == 1:
        return mean, None
    return mean, float(array.std(ddof=1) / math.sqrt(array.size))


def size_class(area_pixels: float) -> Size:
    """COCO's size of an object by its annotated area: small <= 32^2 < medium <= 96^2 < large.

    COCO's own ranges share their ends (1024 is small and medium there); here each object has one size.
    """
    if area_pixels <= SMALL_AREA_PIXELS:
        return "small"
    return "medium" if area_pixels <= MEDIUM_AREA_PIXELS else "large"


def sizes_with_both_ends(area_pixels: float) -> tuple[Size, ...]:
    """COCO's own ranges, which share their ends: an area of 32^2 is small and medium, one of 96^2 medium and large."""
    inside = (area_pixels <= SMALL_AREA_PIXELS, SMALL_AREA_PIXELS <= area_pixels <= MEDIUM_AREA_PIXELS)
    return tuple(size for size, there in zip(SIZES, (*inside, area_pixels >= MEDIUM_AREA_PIXELS), strict=True) if there)
