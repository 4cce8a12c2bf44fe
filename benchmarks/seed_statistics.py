"""Numbers of several training seeds on the same photos, with intervals."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval_zeroshot.results.statistics import interval, photo_weights, resampled_means


class Values:
    """One number of a way.

    Args:
        seeds: for each seed and photo the values of its objects.
        key: of what draws the seeds, another for each way, as a seed of one is not paired with that of another.
    """

    def __init__(self, seeds: Sequence[Sequence[Sequence[float]]], *, key: int) -> None:
        self._seeds, self._key = seeds, key
        self.of_seeds = [statistics.mean([value for photo in photos for value in photo]) for photos in seeds]
        self.mean = statistics.mean(self.of_seeds)

    @property
    def size(self) -> tuple[int, int]:
        """Number of photos with an object, and of objects."""
        photos = self._seeds[0]
        return sum(len(photo) > 0 for photo in photos), sum(len(photo) for photo in photos)

    def draws(self) -> np.ndarray:
        """(B,) means over draws of the photos, the same for all ways, and of the seeds."""
        weights = list(photo_weights(len(self._seeds[0])))
        means = np.stack([np.hstack([resampled_means(photos, weights=some) for some in weights]) for photos in self._seeds])
        drawn = np.random.default_rng(self._key).integers(len(means), size=means.shape)
        return np.take_along_axis(means, drawn, axis=0).mean(axis=0)

    def facts(self) -> dict[str, Any]:
        """Return mean, interval and the means of the seeds."""
        return {"value": self.mean, "interval": interval(self.draws()), "seeds": self.of_seeds}

    def gap(self, other: "Values") -> dict[str, Any]:
        """Return the difference from another way's, with its interval; the photos are paired."""
        return {"difference": self.mean - other.mean, "difference_interval": interval(self.draws() - other.draws())}


def cell_text(facts: Mapping[str, Any]) -> str:
    """Return "0.432 (0.410 to 0.455) ±0.004; +0.011 (+0.002 to +0.017)"."""
    low, high = facts["interval"]
    text = f"{facts['value']:.3f} ({low:.3f} to {high:.3f})"
    if len(facts["seeds"]) > 1:
        text += f" ±{statistics.stdev(facts['seeds']):.3f}"
    if "difference" in facts:
        low, high = facts["difference_interval"]
        text += f"; {facts['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
    return text
