"""What the box and click suites share: objects of a photo prompted each alone, mean IoU, agreement with a reference."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.rle import encode_mask, rle_iou
from encoders.sample import Sample
from eval_zeroshot.metrics import SIZES, size_class
from eval_zeroshot.observations import Observation
from eval_zeroshot.protocol import PredictorLike, prompts_per_call
from eval_zeroshot.results import Direction, Estimate, Result


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Some objects of one photo: P truths (P, H, W) bool and their boxes (P, 4) xyxy in pixels of the photo."""

    shape: Shape
    truths: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a predictor made of P objects: named values (P,), and the masks (P, H, W) that agreement is measured on."""

    values: dict[str, np.ndarray]
    masks: np.ndarray


class InstanceIou(ABC):
    """Mean IoU over objects, each prompted alone. Crowds and objects without a pixel are skipped and counted."""

    name: str
    version: str
    protocol: str
    primary: str
    direction: Direction = "higher"

    @abstractmethod
    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        """Prompt for P objects at once."""

    def counted_ids(self, sample: Sample) -> list[int]:
        return [int(sample.annotation_ids[index]) for index in _counted(sample)]

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        counted, step = _counted(sample), prompts_per_call(sample.shape)
        values: dict[str, list[float]] = {}
        masks = []
        for start in range(0, len(counted), step):
            chosen = counted[start : start + step]
            truths = np.stack([sample.masks[index] for index in chosen])
            answers = self.answer(predictor, Objects(shape=sample.shape, truths=truths, boxes=sample.boxes[chosen]))
            masks += [encode_mask(mask) for mask in answers.masks]
            for name, array in answers.values.items():
                values.setdefault(name, []).extend(float(value) for value in array)
        crowds = int(np.sum(sample.crowd))
        return Observation(
            key=sample.key,
            ids=self.counted_ids(sample),
            areas=[float(sample.areas[index]) for index in counted],
            values=values,
            masks=masks,
            skipped={"crowd": crowds, "empty": len(sample.masks) - crowds - len(counted)},
        )

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        by_name: dict[str, list[float]] = {self.primary: []}
        by_size: dict[str, list[float]] = {size: [] for size in SIZES}
        skipped: Counter[str] = Counter()
        for seen in observations:
            skipped.update(seen.skipped)
            for name, values in seen.values.items():
                by_name.setdefault(name, []).extend(values)
            for area, value in zip(seen.areas, seen.values.get(self.primary, []), strict=True):
                by_size[size_class(area)].append(value)
        extra = {name: Estimate.of(values) for name, values in by_name.items() if name != self.primary}
        if reference is not None:
            extra["agreement"] = Estimate.of(agreement(observations, reference[1]))
        return Result(
            suite=self.name,
            version=self.version,
            protocol=self.protocol,
            direction=self.direction,
            model=model,
            dataset=dataset,
            images=len(observations),
            skipped=dict(skipped),
            breakdown={size: Estimate.of(values) for size, values in by_size.items()},
            extra=extra,
            reference=None if reference is None else reference[0],
            **Estimate.of(by_name[self.primary]).model_dump(),
        )

    def run(
        self, predictor: PredictorLike, samples: Iterable[Sample], *, model: str = "model", dataset: str = "samples"
    ) -> Result:
        observations = []
        for sample in samples:
            predictor.set_image(sample.image)
            observations.append(self.observe(predictor, sample))
        return self.summarise(observations, model=model, dataset=dataset)


def agreement(observations: Sequence[Observation], reference: Sequence[Observation]) -> list[float]:
    """IoU of each object's mask with the reference's mask for the same prompt.

    Raises:
        InputError: the reference has not seen the same objects.
    """
    masks = {seen.key: seen for seen in reference}
    values = []
    for seen in observations:
        other = masks.get(seen.key)
        if other is None or other.ids != seen.ids:
            raise InputError(f"the reference has no masks for the same objects of photo {seen.key}")
        values += [rle_iou(mine, theirs) for mine, theirs in zip(seen.masks, other.masks, strict=True)]
    return values


def _counted(sample: Sample) -> list[int]:
    return [index for index, mask in enumerate(sample.masks) if not sample.crowd[index] and mask.any()]


def most_confident_iou(ious: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(P,) the IoU of each prompt's most confident mask, of (P, M) IoUs and (P, M) scores."""
    return np.asarray(ious[np.arange(len(ious)), scores.argmax(axis=1)])
