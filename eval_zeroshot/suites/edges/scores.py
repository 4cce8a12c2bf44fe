"""From counts to the benchmark's numbers.

Source: BIDS/BSDS500, `bench/benchmarks/collect_eval_bdry.m`; R50: pdollar/edges, `edgesEvalDir.m`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval_zeroshot.suites.edges.counts import Counts

STEPS = 100  # points on the line between two neighbouring levels, both ends included


@dataclass(frozen=True, kw_only=True)
class BestF:
    """The highest F on a curve, with the level, recall and precision where it lies."""

    f: float
    level: float
    recall: float
    precision: float


@dataclass(frozen=True, kw_only=True)
class EdgeScores:
    """The benchmark's numbers, fractions.

    Attributes:
        ods: best F with one level for all photos, interpolated between levels.
        ois: F of the counts at each photo's own best level.
        ap: mean precision over recalls 0, 0.01, ... 1; a recall that is not reached, at either end, counts 0.
        r50: recall at a precision of 0.5; None where the precision never reaches it.
    """

    ods: BestF
    ois: float
    ap: float
    r50: float | None


def edge_scores(photos: Sequence[Counts]) -> EdgeScores:
    """Sum up photos counted at the same levels."""
    total = Counts.total(photos)
    recall, precision = total.recall, total.precision
    return EdgeScores(
        ods=best_f(total), ois=_ois(photos), ap=_average_precision(recall, precision), r50=_r50(recall, precision)
    )


def f_measure(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Harmonic mean, 0 where both are 0."""
    total = recall + precision
    return np.asarray(2 * recall * precision / np.where(total == 0, 1, total))


def best_f(counts: Counts) -> BestF:
    """The first highest F on straight lines between neighbouring points (level, recall, precision) of the curve."""
    points = np.stack([counts.levels, counts.recall, counts.precision])
    share = np.linspace(0, 1, STEPS)
    between = points[:, :-1, None] + np.diff(points)[..., None] * share  # exact where neighbours are equal
    path = np.concatenate([points[:, :1], between.reshape(3, -1)], axis=1)
    values = f_measure(path[1], path[2])
    best = int(values.argmax())
    level, recall, precision = (float(value) for value in path[:, best])
    return BestF(f=float(values[best]), level=level, recall=recall, precision=precision)


def _ois(photos: Sequence[Counts]) -> float:
    """Each photo's counts at its own best level, without interpolation, then one F of their sums."""
    sums = np.zeros(4)
    for counts in photos:
        best = int(f_measure(counts.recall, counts.precision).argmax())
        sums += [counts.matched_truth[best], counts.truth[best], counts.matched_edge[best], counts.edge[best]]
    recall, precision = sums[0] / max(1, sums[1]), sums[2] / max(1, sums[3])
    return float(f_measure(recall, precision))


def _average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    reached, first = np.unique(recall, return_index=True)
    if len(reached) < 2:
        return 0.0
    return float(np.interp(np.arange(101) / 100, reached, precision[first], left=0, right=0).sum() / 100)


def _r50(recall: np.ndarray, precision: np.ndarray) -> float | None:
    reached, first = np.unique(precision, return_index=True)
    wanted = max(float(reached[0]), 0.5)
    if wanted > reached[-1]:
        return None
    return float(np.interp(wanted, reached, recall[first]))
