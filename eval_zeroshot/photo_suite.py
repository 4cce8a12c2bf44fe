"""What suites that look at each photo by itself share: the run over samples and the facts of a result."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from encoders.sample import Sample
from eval_zeroshot.agreement import mean_agreement
from eval_zeroshot.observations import Observation
from eval_zeroshot.protocol import PredictorLike
from eval_zeroshot.results import Direction, Estimate, Result


class PhotoSuite(ABC):
    """The base of all suites here; see `suite.Suite` for what its methods owe."""

    name: str
    version: str
    protocol: str
    direction: Direction = "higher"

    @abstractmethod
    def counted_ids(self, sample: Sample) -> list[int]:
        """Annotation ids of the objects that count."""

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
        """One model's result."""

    def run(
        self, predictor: PredictorLike, samples: Iterable[Sample], *, model: str = "model", dataset: str = "samples"
    ) -> Result:
        """Observe all samples and sum up."""
        observations = []
        for sample in samples:
            predictor.set_image(sample.image)
            observations.append(self.observe(predictor, sample))
        return self.summarise(observations, model=model, dataset=dataset)

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
            **value.model_dump(),
            **facts,
        )
