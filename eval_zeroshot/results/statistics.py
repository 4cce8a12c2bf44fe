"""How sure a number is: bootstrap intervals over photos, and differences of two models on the same photos.

Photos are drawn with replacement, each with all of its objects (a cluster bootstrap), since objects of one photo are alike. The
draws depend on the number of photos and the seed alone, hence two models are drawn together and their difference is paired:
what makes a photo hard for both cancels out. Intervals are percentiles without a correction: those of a number that few photos
bias, as AP over many categories, lie off its middle. (Efron and Tibshirani, An Introduction to the Bootstrap, 1993.)
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval_zeroshot.results.result import Estimate, Result

RESAMPLES = 1000
COVERAGE = 0.95
FEWEST_UNITS = 2  # of one photo, or one video, all draws are alike
BLOCK_NUMBERS = 2**22  # weights held at a time

Samples = Mapping[str, np.ndarray]  # name of a number -> its values (B,) in B draws; see `suite.Resamples`


def photo_weights(photos: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each of P photos comes up in draws of P with replacement: (b, P) int64, `resamples` rows in blocks."""
    random = np.random.default_rng(seed)
    most = max(1, BLOCK_NUMBERS // max(1, photos))
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        drawn = random.integers(photos, size=(rows, photos)) + photos * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * photos).reshape(rows, photos)


def resampled_means(values: Sequence[Sequence[float]], *, weights: np.ndarray) -> np.ndarray:
    """Mean over all objects in each draw.

    Args:
        values: P photos with the values of their objects; a photo may have none.
        weights: (B, P), see `photo_weights`.

    Returns:
        (B,) float64, NaN where a draw has no object.
    """
    table = np.asarray([(sum(its), len(its)) for its in values], np.float64).reshape(-1, 2)
    sums, counts = (weights @ table).T
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mean_of_present(samples: Sequence[np.ndarray]) -> np.ndarray:
    """(B,) mean of M numbers in each draw, (B,) each; those that a draw has none of, NaN, are left out of it."""
    table = np.asarray(samples, np.float64)
    there = np.isfinite(table)
    sums, counts = np.where(there, table, 0).sum(axis=0), there.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def interval(samples: np.ndarray) -> tuple[float | None, float | None]:
    """Lower and upper end of the middle 95 % of a number's values (B,); draws without a number are left out."""
    finite = samples[np.isfinite(samples)]
    if finite.size == 0:
        return None, None
    low, high = np.quantile(finite, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def with_intervals(result: Result, samples: Samples) -> Result:
    """The result with `low` and `high` where there are samples of a number."""

    def ends(name: str) -> dict[str, float | None]:
        low, high = interval(samples[name]) if name in samples else (None, None)
        return {"low": low, "high": high}

    def widened(estimates: Mapping[str, Estimate], prefix: str = "") -> dict[str, Estimate]:
        return {name: estimate.model_copy(update=ends(prefix + name)) for name, estimate in estimates.items()}

    update = {"breakdown": widened(result.breakdown, "size "), "extra": widened(result.extra)}
    return result.model_copy(update=update | ends("value"))


def difference(mine: Result, theirs: Result, *, samples: Samples, their_samples: Samples) -> Estimate:
    """Value of one result minus that of another on the same photos, with the error and interval of their paired draws."""
    value = None if mine.value is None or theirs.value is None else mine.value - theirs.value
    if "value" not in samples or "value" not in their_samples:
        return Estimate(value=value, n=mine.n)
    drawn = samples["value"] - their_samples["value"]
    finite = drawn[np.isfinite(drawn)]
    low, high = interval(drawn)
    error = float(finite.std(ddof=1)) if finite.size > 1 else None
    return Estimate(value=value, n=mine.n, standard_error=error, low=low, high=high)
