"""Statistics of times: percentiles, and ratios with intervals over rounds."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
COVERAGE = 0.95
ROUND_SECONDS = 0.05  # a short call is repeated within a round until it has taken this long in total
MAX_CALLS_OF_ROUND = 20


def percentiles(milliseconds: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 90th and 99th percentile, linear between neighbours."""
    p50, p90, p99 = np.percentile(np.asarray(milliseconds, np.float64), [50, 90, 99])
    return float(p50), float(p90), float(p99)


def calls_of_round(milliseconds: float) -> int:
    """How many times a call of this length is made in a round: once from 50 ms on, at most 20 times."""
    return int(np.clip(np.ceil(ROUND_SECONDS * 1000 / max(milliseconds, 1e-6)), 1, MAX_CALLS_OF_ROUND))


def paired_ratio(
    mine: Sequence[float], theirs: Sequence[float], *, seed: int = 0
) -> tuple[float | None, float | None, float | None]:
    """Median of one subject's round medians divided by the median of another's, with a 95 % bootstrap interval.

    Rounds are drawn in pairs, since a disturbance of the machine affects both subjects of a round alike. Only the rounds that
    both have are used, which are the first ones. Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993
    (percentile interval).

    Args:
        mine, theirs: median milliseconds of each round, in order.

    Returns:
        The ratio and the ends of its interval; all None without a common round, the ends None with a single one.
    """
    common = min(len(mine), len(theirs))
    if not common:
        return None, None, None
    table = np.asarray([mine[:common], theirs[:common]], np.float64)
    if not (table[1] > 0).all():
        return None, None, None
    ratio = float(np.median(table[0]) / np.median(table[1]))
    if common == 1:
        return ratio, None, None
    drawn = np.random.default_rng(seed).integers(common, size=(RESAMPLES, common))
    ratios = np.median(table[0][drawn], axis=1) / np.median(table[1][drawn], axis=1)
    low, high = np.quantile(ratios, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return ratio, float(low), float(high)
