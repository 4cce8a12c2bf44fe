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
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked = np.append(np.asarray(scores, np.float64)[order], 0.0)
    found = np.append(np.cumsum(np.asarray(hits, np.float64)[order]), positives)
    called = np.append(np.cumsum((np.asarray(hits, np.float64) + surplus)[order]), pixels)
    ends = np.append(ranked[1:] != ranked[:-1], True)  # a threshold takes in all groups of one score
    f1 = 2 * found[ends] / (called[ends] + positives)
    best = int(f1.argmax())
    return BestF1(f1=float(f1[best]), threshold=float(ranked[ends][best]))
