"""Thinning: MATLAB's bwmorph 'thin', read off its documentation pixel by pixel, and cases done by hand."""

import numpy as np
import pytest

from eval_zeroshot.suites.edges.thinning import thin


def map_of(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def thin_by_the_book(mask):
    """The two sub-iterations as written in the documentation of bwmorph, one pixel at a time."""
    padded = np.pad(mask, 1)
    while True:
        before = padded.copy()
        for second in (False, True):
            seen = padded.copy()
            for r, c in np.argwhere(seen):
                x = [seen[r, c + 1], seen[r - 1, c + 1], seen[r - 1, c], seen[r - 1, c - 1]]
                x = [False, *x, seen[r, c - 1], seen[r + 1, c - 1], seen[r + 1, c], seen[r + 1, c + 1]]
                x.append(x[1])  # x9 is x1
                g1 = sum(not x[2 * i - 1] and (x[2 * i] or x[2 * i + 1]) for i in (1, 2, 3, 4)) == 1
                n1 = sum(x[2 * k - 1] or x[2 * k] for k in (1, 2, 3, 4))
                n2 = sum(x[2 * k] or x[2 * k + 1] for k in (1, 2, 3, 4))
                kept = (x[6] or x[7] or not x[4]) and x[5] if second else (x[2] or x[3] or not x[8]) and x[1]
                if g1 and 2 <= min(n1, n2) <= 3 and not kept:
                    padded[r, c] = False
        if np.array_equal(before, padded):
            return padded[1:-1, 1:-1]


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_random_maps_thin_as_documented(density):
    noise = np.random.default_rng(3).random((6, 13, 19)) < density
    for mask in noise:
        assert np.array_equal(thin(mask), thin_by_the_book(mask))


def test_a_bar_becomes_a_line_along_its_middle():
    bar = map_of("..........", ".########.", ".########.", ".########.", "..........")
    line = thin(bar)
    assert set(np.flatnonzero(line.any(axis=1))) == {2}
    assert 5 <= line.sum() <= 8


def test_a_line_and_a_ring_stay_as_they_are():
    mask = map_of("#.........", ".#....###.", "..#..#...#", "...#.#...#", "....#.###.")
    assert np.array_equal(thin(mask), mask)


def test_a_map_stored_by_columns_as_matlab_does_thins_the_same():
    mask = np.random.default_rng(4).random((9, 14)) < 0.6
    assert np.array_equal(thin(np.asfortranarray(mask)), thin(mask))
    assert np.array_equal(thin(mask), thin_by_the_book(mask))


def test_pixels_at_the_rim_count_what_lies_outside_as_background():
    assert thin(np.ones((1, 7), bool)).all()  # a line already
    assert thin(np.zeros((4, 5), bool)).sum() == 0
    assert thin(np.ones((2, 2), bool)).sum() >= 1  # nothing vanishes
