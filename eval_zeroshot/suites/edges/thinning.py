"""Thin a boundary map to lines one pixel wide, as MATLAB's `bwmorph(map, 'thin', Inf)` does.

Source: Lam, Lee and Suen, "Thinning Methodologies: A Comprehensive Survey", PAMI 14 (1992), p. 879, the algorithm that
MATLAB's documentation of `bwmorph` names. x1 to x8 are a pixel's neighbours: x1 east, then counter-clockwise.
"""

import numpy as np

# (row, column) of x1 to x8
_NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool -> (H, W) bool; what lies outside counts as background.

    Each pass looks only at the pixels that are left, so a map that is thin already costs next to nothing.
    """
    height, width = mask.shape
    padded = np.zeros((height + 2, width + 2), bool)
    padded[1:-1, 1:-1] = mask
    flat = padded.reshape(-1)  # a view: deleting in it deletes in `padded`
    offsets = [row * padded.shape[1] + column for row, column in _NEIGHBOURS]
    left = np.flatnonzero(flat)
    while True:
        before = len(left)
        for deletable in _DELETABLE:
            codes = np.zeros(len(left), np.uint8)
            for bit, offset in enumerate(offsets):
                codes |= flat[left + offset].view(np.uint8) << np.uint8(bit)
            gone = deletable[codes]
            flat[left[gone]] = False  # all of a sub-iteration at once: no deletion sees another
            left = left[~gone]
        if len(left) == before:
            return padded[1:-1, 1:-1].copy()


def _deletable(*, second: bool) -> np.ndarray:
    """(256,) bool: whether the neighbourhood with code sum(x_k << (k - 1)) loses its pixel in a sub-iteration."""
    x1, x2, x3, x4, x5, x6, x7, x8 = x = ((np.arange(256) >> np.arange(8)[:, None]) & 1).astype(bool)
    pairs = [(2 * k, 2 * k + 1, (2 * k + 2) % 8) for k in range(4)]  # x(2k-1), x(2k), x(2k+1) as indices into x
    crossings = sum((~x[a] & (x[b] | x[c])).astype(int) for a, b, c in pairs)
    corners = [np.sum([x[i] | x[j] for i, j in sides], axis=0) for sides in _sides(pairs)]
    fewest = np.minimum(*corners)
    away = (x6 | x7 | ~x4) & x5 if second else (x2 | x3 | ~x8) & x1
    return np.asarray((crossings == 1) & (fewest >= 2) & (fewest <= 3) & ~away)


def _sides(pairs: list[tuple[int, int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Neighbours paired clockwise and counter-clockwise from the corners: the paper's n1 and n2."""
    return [(a, b) for a, b, _ in pairs], [(b, c) for _, b, c in pairs]


_DELETABLE = (_deletable(second=False), _deletable(second=True))
