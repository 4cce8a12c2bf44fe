"""What a suite is: a named, versioned protocol that asks a predictor about samples and sums up what it saw.

`observe` looks at one photo and `summarise` turns all observations of one model into a result, so photos can be spread
over processes, resumed, and compared pairwise later.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from encoders.errors import InputError
from encoders.samples.sample import Sample
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import Reading
from eval_zeroshot.results.result import Direction, Result


class Suite(Protocol):
    """What the evaluation loop and the table need of a suite."""

    name: str
    version: str
    direction: Direction
    protocol: str

    @property
    def reading(self) -> Reading | None:
        """What its results say of their numbers; where it is None, a report guesses."""
        return None

    @abstractmethod
    def counted_ids(self, sample: Sample) -> list[int]:
        """Annotation ids of the objects that count, in the order of the observation."""

    @abstractmethod
    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        """Ask about one photo, which the predictor has set."""

    @abstractmethod
    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        """One model's result; `reference` is another model's name and its observations of the same photos."""


@runtime_checkable
class KeepsFiles(Protocol):
    """A suite whose answers on a photo are worth a file, to look at and to continue from."""

    def observe_keeping(self, predictor: PredictorLike, sample: Sample, *, folder: Path | None) -> Observation:
        """`observe`, with files in a folder for this data set, suite and model; it need not exist. None keeps nothing."""


@runtime_checkable
class Resamples(Protocol):
    """A suite whose numbers can be had for resampled photos, which gives them an interval and paired differences.

    Attributes:
        resamples: how many times the photos are drawn; 1000 where a number is a mean, fewer where one takes long.
    """

    resamples: int

    def resample(
        self,
        observations: Sequence[Observation],
        *,
        weights: np.ndarray,
        reference: Sequence[Observation] | None = None,
    ) -> dict[str, np.ndarray]:
        """Numbers of B draws of the P photos that were observed.

        Args:
            observations: of P photos.
            weights: (B, P), how often a draw has a photo.
            reference: another model's observations, for the agreement.

        Returns:
            Name -> (B,) float64, NaN where a draw has nothing to measure. `value` is the primary number, `size SIZE` one of
            the breakdown, any other name one of `extra`.
        """


@runtime_checkable
class Follows(Protocol):
    """A suite that observes a sample with the observation of another one before it, as frames of a video."""

    def predecessor(self, sample: Sample) -> str | None:
        """Key of the sample that must be observed before; None where there is none."""

    def observe_following(
        self, predictor: PredictorLike, sample: Sample, *, before: Observation | None
    ) -> Observation:
        """`observe`, with the observation of the predecessor."""


@runtime_checkable
class DrawsTogether(Protocol):
    """A suite that resamples several photos as one, as the frames of a video, which are hardly independent."""

    def unit(self, key: str) -> str:
        """What a photo is a part of, by the photo's key."""


def check_suites(suites: Sequence[Suite]) -> None:
    """Refuse suites that cannot be evaluated together, or at all.

    Raises:
        InputError: two suites have one name, or one both keeps files and follows, of which only one would be done.
    """
    names = [suite.name for suite in suites]
    if len(set(names)) < len(names):
        raise InputError(f"two suites have one name among {', '.join(names)}; give each suite once")
    for suite in suites:
        if isinstance(suite, KeepsFiles) and isinstance(suite, Follows):
            raise InputError(
                f"the suite {suite.name} has both observe_keeping and observe_following, but each photo is observed by one of "
                "them; remove one from the suite, or make two suites of it"
            )
