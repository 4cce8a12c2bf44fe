"""ODS, OIS, AP and R50 of small curves, worked out by hand."""

import numpy as np
import pytest

from encoders.errors import InputError
from eval_zeroshot.suites.edges.counts import Counts
from eval_zeroshot.suites.edges.scores import best_f, edge_scores


def counts(matched_truth, truth, matched_edge, edge):
    levels = np.arange(1, len(edge) + 1) / (len(edge) + 1)
    truths = np.full(len(edge), truth)
    return Counts(
        levels=levels,
        matched_truth=np.array(matched_truth),
        truth=truths,
        matched_edge=np.array(matched_edge),
        edge=np.array(edge),
    )


def test_ods_lies_between_two_levels_where_the_straight_line_is_better():
    # (R, P) = (0.8, 0.4) at level 1/3 and (0.4, 0.8) at 2/3: F = 0.533 at both ends, 0.6 in the middle
    curve = counts([80, 40], 100, [40, 80], [100, 100])
    best = best_f(curve)
    # 100 points on the line: none exactly in the middle, the two nearest are 0.5 / 99 away, F = 2 R P / 1.2
    off = 0.4 * 0.5 / 99
    assert best.f == pytest.approx((0.6 - off) * (0.6 + off) * 2 / 1.2, abs=1e-12)
    assert best.level == pytest.approx(0.5, abs=0.0034)
    assert sorted([best.recall, best.precision]) == pytest.approx([0.6 - off, 0.6 + off])


def test_ois_takes_each_photo_at_its_own_level():
    first = counts([90, 10], 100, [90, 10], [100, 10])  # F: 0.9 at level 1
    second = counts([10, 30], 40, [10, 30], [100, 60])  # F: 20/140 and 60/100, so level 2
    scores = edge_scores([first, second])
    recall, precision = (90 + 30) / 140, (90 + 30) / (100 + 60)
    assert scores.ois == pytest.approx(2 * recall * precision / (recall + precision))
    # one level for both: level 1 sums to R 100/140, P 100/200; level 2 to R 40/140, P 40/70
    assert scores.ods.f == pytest.approx(2 * (100 / 140) * 0.5 / (100 / 140 + 0.5), abs=2e-3)
    assert scores.ods.level == pytest.approx(1 / 3)


def test_ap_counts_recalls_out_of_reach_as_nothing():
    # P = 1 at R = 0.25, P = 0.5 at R = 0.75, straight between: the 51 recalls 0.25, 0.26, ... 0.75 average 0.75
    curve = counts([75, 25], 100, [50, 10], [100, 10])
    assert edge_scores([curve]).ap == pytest.approx(51 * 0.75 / 100)


def test_ap_of_a_single_point_is_nothing():
    assert edge_scores([counts([5, 5], 10, [5, 5], [5, 5])]).ap == 0.0


@pytest.mark.parametrize(
    ("matched_edge", "r50"),
    [
        ([40, 60], 0.6),  # P 0.4 at R 0.8 and 0.6 at R 0.4: half way
        ([70, 90], 0.8),  # always above a half: the recall at the lowest precision
        ([10, 40], None),  # never
    ],
)
def test_recall_at_half_precision(matched_edge, r50):
    assert edge_scores([counts([80, 40], 100, matched_edge, [100, 100])]).r50 == (r50 if r50 is None else pytest.approx(r50))


def test_a_level_without_any_edge_scores_nothing_instead_of_dividing_by_it():
    curve = counts([0, 0], 100, [0, 0], [0, 0])
    scores = edge_scores([curve])
    assert (scores.ods.f, scores.ois, scores.ap) == (0.0, 0.0, 0.0)


def test_photos_at_different_levels_cannot_be_summed():
    with pytest.raises(InputError, match=r"\[1, 2\] levels"):
        edge_scores([counts([1], 1, [1], [1]), counts([1, 1], 1, [1, 1], [1, 1])])
    with pytest.raises(InputError, match="at least one photo"):
        edge_scores([])
