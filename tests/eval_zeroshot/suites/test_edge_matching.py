"""One-to-one matching against scipy's dense assignment, and cases done by hand."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from eval_zeroshot.suites.edges import matching
from eval_zeroshot.suites.edges.matching import BoundaryMatcher


def least_cost(first, second, radius):
    """(matches, summed distance) of the cheapest assignment: dense, unmatched pixels on the other side's dummies."""
    a, b = np.argwhere(first), np.argwhere(second)
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    costs = np.full((len(a) + len(b),) * 2, 100.0 * radius)
    costs[: len(a), : len(b)] = np.where(distance <= radius, distance, 1e9)
    costs[len(a) :, len(b) :] = 0
    rows, columns = linear_sum_assignment(costs)
    real = (rows < len(a)) & (columns < len(b))
    return int(real.sum()), float(distance[rows[real], columns[real]].sum())


@pytest.mark.parametrize(("density", "radius"), [(0.02, 4.3), (0.1, 2.0), (0.3, 3.0)])
def test_as_many_pixels_match_as_in_the_dense_assignment(density, radius):
    rng = np.random.default_rng(5)
    for _ in range(4):
        edge, truth = rng.random((2, 23, 31)) < density
        pixels = np.flatnonzero(edge)
        matched, count = BoundaryMatcher(truth, radius=radius).match(pixels)
        wanted, distance = least_cost(edge, truth, radius)
        assert count == matched.sum() == wanted
        # the pixels that were chosen can be matched at the least sum: they are a cheapest choice
        chosen = np.zeros(edge.size, bool)
        chosen[pixels[matched]] = True
        assert least_cost(chosen.reshape(edge.shape), truth, radius) == (wanted, pytest.approx(distance))


def test_blocks_of_components_change_nothing(monkeypatch):
    edge, truth = np.random.default_rng(6).random((2, 60, 40)) < 0.05
    counts = []
    for rows in (1, 7, 10**6):
        monkeypatch.setattr(matching, "BLOCK_ROWS", rows)
        counts.append(BoundaryMatcher(truth, radius=2.5).match(np.flatnonzero(edge))[1])
    assert counts == [least_cost(edge, truth, 2.5)[0]] * 3


def test_the_radius_is_the_last_distance_that_matches():
    truth = np.zeros((9, 12), bool)
    truth[4, 3] = True
    edge = np.zeros_like(truth)
    edge[1, 7] = True  # 3 rows and 4 columns away: distance 5
    assert BoundaryMatcher(truth, radius=5.0).match(np.flatnonzero(edge))[1] == 1
    assert BoundaryMatcher(truth, radius=4.99).match(np.flatnonzero(edge))[1] == 0


def test_a_pixel_matches_once_and_the_nearer_one_wins():
    truth = np.zeros((7, 15), bool)
    truth[3, 10] = True
    edge = np.zeros_like(truth)
    edge[3, 8] = edge[3, 11] = True
    matched, count = BoundaryMatcher(truth, radius=3.0).match(np.flatnonzero(edge))
    assert count == 1
    assert matched.tolist() == [False, True]


def test_more_matches_come_before_shorter_ones():
    # truth at columns 3 and 6, edges at 5 and 8: matching 5 with 6 (distance 1) would leave 3 and 8 alone at radius 2
    truth, edge = np.zeros((2, 5, 12), bool)
    truth[2, [3, 6]] = True
    edge[2, [5, 8]] = True
    assert BoundaryMatcher(truth, radius=2.0).match(np.flatnonzero(edge))[1] == 2


def test_nothing_matches_nothing():
    empty, full = np.zeros((6, 8), bool), np.ones((6, 8), bool)
    assert BoundaryMatcher(empty, radius=2.0).match(np.flatnonzero(full))[1] == 0
    assert BoundaryMatcher(full, radius=2.0).match(np.flatnonzero(empty))[1] == 0
