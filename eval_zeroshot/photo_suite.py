"""What suites that look at each photo by itself share: the run over samples and the facts of a result."""

from abc import ABC
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from encoders.sample import Sample
from eval_zeroshot.agreement import mean_agreement
from eval_zeroshot.observations import Observation
from eval_zeroshot.protocol import PredictorLike
from eval_zeroshot.results import Direction, Estimate, Result
from eval_zeroshot.suite import Suite


class PhotoSuite(Suite, ABC):
    """The base of all suites here; what its further methods owe stands at `suite.Suite`."""

    direction: Direction = "higher"

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
