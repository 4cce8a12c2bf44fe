"""In which order to ask the points of a grid, so that the first few of them find most."""

from collections.abc import Iterable

import numpy as np

from eval_zeroshot.suites.everything.candidates import Candidate

START_PER_SIDE = 4  # points of a side that are asked before anything counts as explained
# A mask above both explains what it covers. Lower than segment-anything's thresholds for masks to keep, .88 and .95: a model
# that seldom reaches those would explain nothing, and a point is put off by this, not left out.
EXPLAINED_IOU = 0.5
EXPLAINED_STABILITY = 0.8
ORDER_IN_WORDS = (
    f"coarse to fine, and after the first {START_PER_SIDE**2} those last that lie on a mask found so far with predicted IoU > "
    f"{EXPLAINED_IOU:g} and stability >= {EXPLAINED_STABILITY:g}"
)


def coarse_to_fine(per_side: int) -> np.ndarray:
    """(per_side²,) the indices of a grid in an order of which every beginning is spread over the whole grid.

    It is that of a Bayer matrix, as dithering uses it: the first 4^k points are a grid of 2^k x 2^k. The matrix is shifted by
    a third of its side, so that these grids lie near the middle of their cells and not at their upper left corners.
    """
    bits = max(1, (per_side - 1).bit_length())
    side = 1 << bits
    row, column = np.divmod(np.arange(per_side**2), per_side)
    row, column = (row + side - side // 3) % side, (column + side - side // 3) % side
    rank = np.zeros(per_side**2, np.int64)
    for bit in range(bits):  # the lowest bits of row and column say most
        across, down = (row ^ column) >> bit & 1, row >> bit & 1
        rank |= (2 * across + down) << (2 * (bits - 1 - bit))
    return np.argsort(rank, kind="stable")


class PointOrder:
    """Points coarse to fine; those that a good mask of another point has explained come last.

    Args:
        per_side: of the grid.
    """

    def __init__(self, per_side: int) -> None:
        self._waiting = coarse_to_fine(per_side)
        self._asked = 0
        self._start = START_PER_SIDE**2
        self._explained = np.zeros(per_side**2, bool)

    def take(self, count: int) -> np.ndarray:
        """Indices of the next points, `count` or as many as are left; they count as asked."""
        late = self._explained[self._waiting] & (self._asked >= self._start)
        chosen = np.argsort(late, kind="stable")[:count]
        points = self._waiting[chosen]
        self._waiting = np.delete(self._waiting, chosen)
        self._asked += len(points)
        return points

    def learn(self, candidates: Iterable[Candidate]) -> None:
        """Take note of masks that the asked points have given."""
        for candidate in candidates:
            if candidate.score > EXPLAINED_IOU and candidate.stability >= EXPLAINED_STABILITY:
                self._explained[candidate.covers] = True
