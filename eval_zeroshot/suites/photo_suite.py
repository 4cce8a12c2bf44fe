"""What suites that look at each photo by itself share: the run over samples and the facts of a result."""

from abc import ABC
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np

from encoders.samples.sample import Sample
from eval_zeroshot.metrics.masks import SIZES
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.results.agreement import agreement, mean_agreement
from eval_zeroshot.results.observations import Observation, ObservationStore
from eval_zeroshot.results.reading import ErrorKind, PromptKind, Reading
from eval_zeroshot.results.result import Direction, Estimate, Result
from eval_zeroshot.results.statistics import RESAMPLES, resampled_means
from eval_zeroshot.suites.base import Suite
from eval_zeroshot.suites.observing import observe_all

Groups = dict[str, list[list[float]]]  # name of a number -> for each photo its values


class PhotoSuite(Suite, ABC):
    """The base of all suites here; what its further methods owe stands at `suite.Suite`.

    Attributes:
        unit_of_n: what n counts, in the plural.
        error, primary, drawn, made_of_logits, prompt, title, further_titles, family: as in `Reading`.
    """

    direction: Direction = "higher"
    unit_of_n: str = "objects"
    error: ErrorKind | None = "mean"
    primary: str | None = None
    drawn: str = "photos"
    made_of_logits: bool = False
    prompt: PromptKind | None = None
    title: str | None = None
    further_titles: Mapping[str, str] = MappingProxyType({})
    family: str | None = None

    @property
    def reading(self) -> Reading:
        """What results say of their numbers."""
        return Reading(
            unit=self.unit_of_n,
            error=self.error,
            primary=self.primary,
            drawn=self.drawn,
            made_of_logits=self.made_of_logits,
            prompt=self.prompt,
            title=self.title,
            further_titles=dict(self.further_titles),
            family=self.family,
        )

    def run(
        self, predictor: PredictorLike, samples: Iterable[Sample], *, model: str = "model", dataset: str = "samples"
    ) -> Result:
        """Observe all samples with one model and sum up; `eval_zeroshot.evaluate` does more."""
        store = ObservationStore(None, identity={})
        keys = observe_all({model: predictor}, [self], samples, {(self.name, model): store})
        return self.summarise([store.found[key] for key in keys], model=model, dataset=dataset)

    def result(
        self,
        value: Estimate,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        extra: dict[str, Estimate],
        skipped: dict[str, int] | None = None,
        reference: tuple[str, Sequence[Observation]] | None = None,
        **facts: Any,
    ) -> Result:
        """The suite's result with this value; agreement is added where there is a reference and none in `extra`."""
        counted = Counter(skipped or {})
        for seen in observations:
            counted.update(seen.skipped)
        if reference is not None and "agreement" not in extra:
            extra = extra | {"agreement": mean_agreement(observations, reference[1])}
        return Result(
            suite=self.name,
            version=self.version,
            protocol=self.protocol,
            direction=self.direction,
            model=model,
            dataset=dataset,
            images=len(observations),
            skipped=dict(counted),
            extra=extra,
            reference=None if reference is None else reference[0],
            reading=self.reading,
            **value.model_dump(),
            **facts,
        )


class MeanSuite(PhotoSuite, ABC):
    """The base of suites whose numbers are means of values that observations hold.

    Attributes:
        primary: which of the values is the result's; values called as a size of object are its breakdown.
    """

    primary: str
    seed: int = 0
    resamples: int = RESAMPLES

    def groups(self, observations: Sequence[Observation], *, reference: Sequence[Observation] | None = None) -> Groups:
        """Named numbers, photo by photo: `value` is the primary one, `size SIZE` the same by size."""
        names = dict.fromkeys(name for seen in observations for name in seen.values)
        title = {self.primary: "value"} | {size: f"size {size}" for size in SIZES}
        groups = {title.get(name, name): [seen.values.get(name, []) for seen in observations] for name in names}
        groups.setdefault("value", [])
        if reference is not None:
            groups["agreement"] = agreement(observations, reference)
        return groups

    def facts(self, groups: Groups) -> dict[str, Estimate]:
        """Further numbers that are no means; none here."""
        return {}

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        groups = self.groups(observations, reference=None if reference is None else reference[1])
        estimates = {name: Estimate.of([*chain(*photos)]) for name, photos in groups.items()}
        value = estimates.pop("value")
        breakdown: dict[str, Estimate] = {size: estimates.pop(f"size {size}") for size in SIZES if f"size {size}" in estimates}
        return self.result(
            value,
            observations,
            model=model,
            dataset=dataset,
            extra=estimates | self.facts(groups),
            reference=reference,
            breakdown=breakdown,
            seed=self.seed,
        )

    def resample(
        self,
        observations: Sequence[Observation],
        *,
        weights: np.ndarray,
        reference: Sequence[Observation] | None = None,
    ) -> dict[str, np.ndarray]:
        """See `suite.Resamples`; what is no mean, as a calibration error, is left out."""
        groups = self.groups(observations, reference=reference)
        return {name: resampled_means(photos, weights=weights) for name, photos in groups.items()}
