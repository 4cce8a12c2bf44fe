"""Numbers from times: percentiles, and ratios with intervals over rounds."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
COVERAGE = 0.95
ROUND_SECONDS = 0.05  # a short call is repeated in a round until so much is measured
MAX_CALLS_OF_ROUND = 20


def percentiles(milliseconds: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 90th and 99th percentile, linear between neighbours."""
    p50, p90, p99 = np.percentile(np.asarray(milliseconds, np.float64), [50, 90, 99])
    return float(p50), float(p90), float(p99)


def calls_of_round(milliseconds: float) -> int:
    """How often a call of this length is repeated in a round: once from 50 ms on, at most 20 times."""
    return int(np.clip(np.ceil(ROUND_SECONDS * 1000 / max(milliseconds, 1e-6)), 1, MAX_CALLS_OF_ROUND))


def paired_ratio(
    mine: Sequence[float], theirs: Sequence[float], *, seed: int = 0
) -> tuple[float | None, float | None, float | None]:
    """Median of one subject's rounds divided by that of another, with a 95 % bootstrap interval.

    Rounds are drawn together, since what disturbs the machine disturbs the neighbours in a round alike. Of two lists the
    rounds that both have count, the first ones. (Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentiles.)

    Args:
        mine, theirs: milliseconds of each round, in its order.

    Returns:
        ratio, lower and upper end; all None without a common round, the ends None with a single one.
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
