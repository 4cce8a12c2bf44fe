"""Percentiles and ratios, by hand."""

import pytest

from eval_zeroshot.latency.figures import calls_of_round, paired_ratio, percentiles


def test_percentiles_lie_between_neighbours():
    p50, p90, p99 = percentiles([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (p50, p90, p99) == pytest.approx((3.0, 4.6, 4.96))


def test_what_slows_a_whole_round_down_leaves_the_ratio_and_its_interval_alone():
    mine, theirs = [100.0, 300.0, 120.0, 900.0], [200.0, 600.0, 240.0, 1800.0]
    assert paired_ratio(mine, theirs) == pytest.approx((0.5, 0.5, 0.5))


def test_the_interval_spans_what_rounds_disagree_about():
    ratio, low, high = paired_ratio([100.0, 100.0, 100.0], [50.0, 100.0, 200.0])
    assert ratio == 1.0 and low == 0.5 and high == 2.0


def test_only_rounds_that_both_have_are_compared():
    assert paired_ratio([10.0, 30.0, 5000.0], [20.0, 60.0])[0] == pytest.approx(0.5)


def test_one_round_has_no_interval_and_none_no_ratio():
    assert paired_ratio([10.0], [40.0]) == (0.25, None, None)
    assert paired_ratio([], [40.0]) == (None, None, None)
    assert paired_ratio([10.0], [0.0]) == (None, None, None)


@pytest.mark.parametrize(("milliseconds", "calls"), [(800.0, 1), (50.0, 1), (49.0, 2), (10.0, 5), (0.1, 20), (0.0, 20)])
def test_short_calls_are_repeated_within_a_round(milliseconds, calls):
    assert calls_of_round(milliseconds) == calls
