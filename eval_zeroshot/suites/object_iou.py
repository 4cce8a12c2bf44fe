"""What the box and click suites share: objects of a photo prompted each alone, mean IoU, agreement with a reference."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.samples.rle import encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot.metrics.calibration import expected_calibration_error
from eval_zeroshot.metrics.masks import SIZES, Size, size_class
from eval_zeroshot.predictors.protocol import PredictorLike, prompts_per_call
from eval_zeroshot.results.agreement import agreement
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import Estimate
from eval_zeroshot.suites.photo_suite import Groups, MeanSuite

ORACLE_TITLE = {"oracle": "oracle of 3"}
OF_THREE_TITLES = {"most_confident": "best of 3"} | ORACLE_TITLE


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Some objects of one photo.

    Attributes:
        key: of the photo.
        ids: (P,) annotation ids; key and id name an object for `object_random`.
        shape: (height, width) of the photo.
        truths: (P, H, W) bool.
        boxes: (P, 4) xyxy in pixels of the photo.
    """

    key: str
    ids: np.ndarray
    shape: Shape
    truths: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a predictor made of P objects: named values (P,), and the masks (P, H, W) that agreement is measured on."""

    values: dict[str, np.ndarray]
    masks: np.ndarray


class InstanceIou(MeanSuite):
    """Mean IoU over objects, each prompted alone. Crowds and objects without a pixel are skipped and counted.

    Where answers have values `predicted_iou`, their calibration error (`calibration.expected_calibration_error`) is reported as
    `ece`.
    """

    reasons: tuple[str, ...] = ("crowd", "empty")

    @abstractmethod
    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        """Prompt for P objects at once."""

    def why_skipped(self, sample: Sample, index: int) -> str | None:
        """One of `reasons` if an object does not count."""
        if sample.crowd[index]:
            return "crowd"
        return None if sample.masks[index].any() else "empty"

    def sizes_of(self, area: float) -> Sequence[Size]:
        """Sizes that an object of an annotated area, in pixels, counts in."""
        return (size_class(area),)

    def counted_ids(self, sample: Sample) -> list[int]:
        return [int(sample.annotation_ids[index]) for index in self._counted(sample)[0]]

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        (counted, skipped), step = self._counted(sample), prompts_per_call(predictor, sample.shape)
        values: dict[str, list[float]] = {}
        masks = []
        for start in range(0, len(counted), step):
            chosen = counted[start : start + step]
            objects = Objects(
                key=sample.key,
                ids=sample.annotation_ids[chosen],
                shape=sample.shape,
                truths=np.stack([sample.masks[index] for index in chosen]),
                boxes=sample.boxes[chosen],
            )
            answers = self.answer(predictor, objects)
            masks += [encode_mask(mask) for mask in answers.masks]
            for name, array in answers.values.items():
                values.setdefault(name, []).extend(float(value) for value in array)
        return Observation(
            key=sample.key,
            ids=[int(sample.annotation_ids[index]) for index in counted],
            areas=[float(sample.areas[index]) for index in counted],
            values=values,
            masks=masks,
            skipped=skipped,
        )

    def facts(self, groups: Groups) -> dict[str, Estimate]:
        """The calibration error, which has no interval, as resampling biases it."""
        if "predicted_iou" not in groups:
            return {}
        predicted, true = (np.concatenate(groups[name]) for name in ("predicted_iou", "value"))
        return {"ece": Estimate(value=expected_calibration_error(predicted, true), n=len(true))}

    def groups(
        self, observations: Sequence[Observation], *, reference: Sequence[Observation] | None = None
    ) -> Groups:
        """Named numbers, for each photo those of its objects: `value` is the primary one, `size SIZE` the same by size."""
        groups: Groups = {"value": [], **{f"size {size}": [] for size in SIZES}}
        others = dict.fromkeys(name for seen in observations for name in seen.values if name != self.primary)
        for seen in observations:
            primary = seen.values.get(self.primary, [])
            if not len(primary) == len(seen.areas) == len(seen.ids):
                its = f"{len(primary)} values of {self.primary} and {len(seen.areas)} areas for {len(seen.ids)} objects"
                raise InputError(
                    f"{self.name}: what was kept of photo {seen.key} was changed, it has {its}; delete its line in the .state "
                    "folder and run eval again"
                )
            groups["value"].append(primary)
            sizes = [self.sizes_of(area) for area in seen.areas]
            for size in SIZES:
                groups[f"size {size}"].append([v for v, its in zip(primary, sizes, strict=True) if size in its])
            for name in others:
                groups.setdefault(name, []).append(seen.values.get(name, []))
        if reference is not None:
            groups["agreement"] = agreement(observations, reference)
        return groups

    def _counted(self, sample: Sample) -> tuple[list[int], dict[str, int]]:
        """Indices of the objects that count, and how many do not, by reason."""
        counted, skipped = [], dict.fromkeys(self.reasons, 0)
        for index in range(len(sample.masks)):
            reason = self.why_skipped(sample, index)
            if reason is None:
                counted.append(index)
            else:
                skipped[reason] += 1
        return counted, skipped


def most_confident_iou(ious: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(P,) the IoU of each prompt's most confident mask, of (P, M) IoUs and (P, M) scores."""
    return np.asarray(ious[np.arange(len(ious)), scores.argmax(axis=1)])
