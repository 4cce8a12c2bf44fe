"""F1 of pixels at the best threshold of a score: the number of anomaly segmentation."""

from typing import NamedTuple

import numpy as np


class BestF1(NamedTuple):
    """The highest F1 and the threshold that gives it: pixels of at least this score are called anomalous."""

    f1: float
    threshold: float


def max_f1(scores: np.ndarray, *, hits: np.ndarray, surplus: np.ndarray, positives: int, pixels: int) -> BestF1 | None:
    """The best F1 over all thresholds; of equals the highest threshold.

    Pixels of score 0 are stated by number alone; calling every pixel anomalous is a threshold too, as it is in scikit-learn's
    `precision_recall_curve`.

    Args:
        scores: (K,) of groups of pixels, each above 0; several groups may have one score.
        hits: (K,) anomalous pixels in each group.
        surplus: (K,) other pixels in each group.
        positives: anomalous pixels in all, at least those of `hits`.
        pixels: pixels in all.

    Returns:
        None where no pixel is anomalous, so that there is no recall.
    """
    if positives == 0:
        return None
    curve, thresholds = _f1_at_thresholds(scores, hits=hits, surplus=surplus, positives=positives, pixels=pixels)
    best = int(curve.argmax())
    return BestF1(f1=float(curve[best]), threshold=float(thresholds[best]))


def max_f1_of_draws(
    scores: np.ndarray, *, hits: np.ndarray, surplus: np.ndarray, positives: np.ndarray, pixels: np.ndarray
) -> np.ndarray:
    """`max_f1` of B draws at once.

    Args:
        scores: (K,), as there.
        hits, surplus: (B, K), 0 where a draw is without the group.
        positives, pixels: (B,).

    Returns:
        (B,) float64, NaN where a draw has no anomalous pixel.
    """
    with np.errstate(invalid="ignore"):
        curve, _ = _f1_at_thresholds(scores, hits=hits, surplus=surplus, positives=positives, pixels=pixels)
    return np.where(positives > 0, curve.max(axis=1), np.nan)


def _f1_at_thresholds(
    scores: np.ndarray,
    *,
    hits: np.ndarray,
    surplus: np.ndarray,
    positives: np.ndarray | int,
    pixels: np.ndarray | int,
) -> tuple[np.ndarray, np.ndarray]:
    """F1 (..., T) at the T thresholds from the highest to 0, of hits and surplus (..., K), and these thresholds (T,)."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked = np.append(np.asarray(scores, np.float64)[order], 0.0)
    ends = np.append(ranked[1:] != ranked[:-1], True)  # a threshold takes in all groups of one score

    def so_far(numbers: np.ndarray, all_of_them: np.ndarray | int) -> np.ndarray:
        sums = np.cumsum(np.asarray(numbers, np.float64)[..., order], axis=-1)
        return np.concatenate([sums, np.asarray(all_of_them, np.float64)[..., None]], axis=-1)[..., ends]

    found, called = so_far(hits, positives), so_far(np.add(hits, surplus), pixels)
    return 2 * found / (called + np.asarray(positives, np.float64)[..., None]), ranked[ends]
