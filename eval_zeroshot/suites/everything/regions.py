"""Small holes and loose pieces of masks."""

import numpy as np
from scipy import ndimage

EIGHT = np.ones((3, 3), bool)  # neighbours by a side or a corner


def without_small_regions(mask: np.ndarray, *, min_pixels: int) -> tuple[np.ndarray, bool]:
    """Fill holes and remove pieces of fewer than `min_pixels`; of a mask with small pieces only, the largest stays.

    Source: segment-anything, `remove_small_regions`, holes first, then pieces.

    Args:
        mask: (H, W) bool.

    Returns:
        The mask, and whether it changed.
    """
    holes, sizes = _regions(~mask)
    small = np.flatnonzero(sizes < min_pixels) + 1
    filled = mask | np.isin(holes, small)
    pieces, sizes = _regions(filled)
    loose = np.flatnonzero(sizes < min_pixels) + 1
    if len(loose) and len(loose) == len(sizes):
        loose = np.delete(loose, int(sizes.argmax()))
        # segment-anything counts a mask whose only piece is small as changed, so it does here too
        return filled & ~np.isin(pieces, loose), True
    return filled & ~np.isin(pieces, loose), bool(len(small) or len(loose))


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) labels, 0 outside and 1..R inside, and the (R,) pixels of each."""
    labels, count = ndimage.label(mask, structure=EIGHT)
    return labels, np.bincount(labels.ravel(), minlength=count + 1)[1:]
