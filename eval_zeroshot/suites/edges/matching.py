"""One-to-one matching of boundary pixels: the benchmark's `correspondPixels`, exact and without its random outliers.

Source: BIDS/BSDS500, `bench/source/match.cc`: two pixels no farther apart than a radius may be matched at the cost of
their distance, an unmatched pixel costs 100 radii, the sum is least. The original limits which pixels may stay unmatched
by random edges and rounds costs to 1/100 px; here the least sum itself is found.
"""

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

OUTLIER_RADII = 100  # cost of an unmatched pixel
BLOCK_ROWS = 200  # the solver's time grows faster than its size, its call has a price: components are solved in blocks


class BoundaryMatcher:
    """One annotator's boundary, ready to be matched with many machine boundaries.

    Args:
        truth: (H, W) bool.
        radius: farthest that two matched pixels may lie apart, in pixels.
    """

    def __init__(self, truth: np.ndarray, *, radius: float) -> None:
        self.count = int(np.count_nonzero(truth))
        self._unmatched = 2 * OUTLIER_RADII * radius  # an unmatched pixel leaves one of the other side unmatched too
        self._reach = _reach(truth, radius)

    def match(self, pixels: np.ndarray) -> tuple[np.ndarray, int]:
        """Match machine pixels, given as (N,) int indices into the flattened map.

        Returns:
            (N,) bool, which of them are matched, and how many that is.
        """
        matched = np.zeros(len(pixels), bool)
        near = self._reach[pixels]
        reaching = np.flatnonzero(np.diff(near.indptr))
        if not len(reaching):
            return matched, 0
        order, blocks = _blocks(near[reaching])
        rows = np.concatenate([start + _solve(block, self._unmatched) for start, block in blocks])
        matched[reaching[order[rows]]] = True
        return matched, len(rows)


def _reach(truth: np.ndarray, radius: float) -> csr_array:
    """(H * W, boundary pixels) sparse: 1 + distance in pixels wherever it is within the radius (a stored 0 is no edge)."""
    height, width = truth.shape
    rows, columns = np.nonzero(truth)
    reach = int(radius)
    steps = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    distances = np.hypot(*steps)
    (down, right), distances = steps[:, distances <= radius], distances[distances <= radius]
    y, x = rows[:, None] + down, columns[:, None] + right
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    truths, offsets = np.nonzero(inside)
    pixels = (y[inside] * width + x[inside]).astype(np.int32)
    where = pixels, truths.astype(np.int32)
    return csr_array((1 + distances[offsets], where), shape=(height * width, len(rows)))


def _blocks(near: csr_array) -> tuple[np.ndarray, list[tuple[int, csr_array]]]:
    """Gather connected components into blocks of some hundred rows.

    Args:
        near: machine pixels by truth pixels, no empty row.

    Returns:
        order (rows,) of the rows when sorted by block, and for each block the place of its first row in that order and
        its own matrix of rows by columns.
    """
    count, width = near.shape
    # one graph of rows and columns: a row's neighbours are columns, a column stores none
    indptr = np.concatenate([near.indptr, np.full(width, near.indptr[-1], near.indptr.dtype)])
    graph = csr_array((near.data, near.indices + count, indptr), shape=(count + width, count + width))
    _, labels = connected_components(graph, directed=False)
    rows_before = np.cumsum(np.bincount(labels[:count], minlength=labels.max() + 1))
    block_of = np.concatenate([[0], rows_before[:-1]]) // BLOCK_ROWS
    row_block, column_block = block_of[labels[:count]], block_of[labels[count:]]
    order, column_order = np.argsort(row_block, kind="stable"), np.argsort(column_block, kind="stable")
    place = np.empty(width, near.indices.dtype)
    place[column_order] = np.arange(width)
    sorted_near = near[order]
    columns = place[sorted_near.indices]
    blocks = []
    for block in np.unique(row_block):
        start, end = np.searchsorted(row_block[order], [block, block + 1])
        left, right = np.searchsorted(column_block[column_order], [block, block + 1])
        first, last = sorted_near.indptr[start], sorted_near.indptr[end]
        parts = (sorted_near.data[first:last], columns[first:last] - left, sorted_near.indptr[start : end + 1] - first)
        blocks.append((int(start), csr_array(parts, shape=(end - start, right - left))))
    return order, blocks


def _solve(near: csr_array, unmatched: float) -> np.ndarray:
    """Rows of a (R, C) matrix of 1 + distance that the cheapest assignment matches; an unmatched pair of sides costs."""
    swapped = near.shape[0] > near.shape[1]  # the smaller side is assigned: fewer searches
    edges = near.tocoo()
    agents, tasks = (edges.col, edges.row) if swapped else (edges.row, edges.col)
    count, others = sorted(near.shape)
    own = np.arange(count)  # every agent has a task of its own, to stay unmatched
    costs = np.concatenate([edges.data, np.full(count, 1 + unmatched)])
    where = np.concatenate([agents, own]), np.concatenate([tasks, others + own])
    agent, task = min_weight_full_bipartite_matching(coo_array((costs, where), shape=(count, others + count)).tocsr())
    real = task < others
    return np.asarray(task[real] if swapped else agent[real])
