"""Instance segmentation: a detector says where and what, the model makes the masks, AP says how good they are."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.samples.rle import Rle, encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.backends import average_precision
from eval_zeroshot.ap.detections import Detections
from eval_zeroshot.ap.hits import hit_values
from eval_zeroshot.ap.resample import resampled_ap
from eval_zeroshot.metrics.masks import SIZES, size_class
from eval_zeroshot.predictors.protocol import PredictorLike, prompts_per_call
from eval_zeroshot.results.agreement import agreement, mean_agreement
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import ErrorKind
from eval_zeroshot.results.result import Direction, Estimate, Result
from eval_zeroshot.results.statistics import resampled_means
from eval_zeroshot.suites.detector_boxes.instance_protocols import InstanceProtocol
from eval_zeroshot.suites.photo_suite import PhotoSuite

SIZE_NUMBERS: dict[str, str] = {f"AP{size[0]}": size for size in SIZES}  # APs, APm, APl go into the breakdown
RULES = {
    "coco": "AP of COCO, at most 100 masks of a category and photo",
    "lvis": "AP of LVIS with its federated rules, at most 300 masks a photo",
}


class InstanceAp(PhotoSuite):
    """Mask AP with a detector's boxes after a protocol; an observation holds the masks and scores of one photo.

    The ids of an observation are the numbers of detections in the detector's file, its areas those of their boxes. A box
    without a pixel of the photo is not asked about: it stays a detection, with an empty mask.

    Args:
        protocol: from `PROTOCOLS`.
        detections: of a detector; those of photos that are not in the data set are not used.
        truth: annotations of the photos that will be shown, or more.
        may_be_empty: whether the detector may have found nothing on these photos, which is an AP of 0.

    Raises:
        InputError: a detection has no box, none is of these photos, or none of a known category.
    """

    direction: Direction = "higher"
    error: ErrorKind | None = None
    family = "instance"
    resamples = 200  # AP is counted anew for each draw

    def __init__(
        self, protocol: InstanceProtocol, *, detections: Detections, truth: Annotations, may_be_empty: bool = False
    ) -> None:
        self.name = suite_name(protocol)
        self.title = f"mask AP ({protocol.name})"
        self.version = protocol.version
        self.protocol = (
            f"boxes of {detections.name} (sha256 {detections.sha256[:12]}); {protocol.description}; {RULES[truth.kind]}. "
            "value is AP, breakdown APs, APm, APl, extra the other numbers; n counts objects, crowds apart"
        )
        self._rules, self._detections, self._truth = protocol, detections, truth
        self._records = detections.records
        self._images = {Path(truth.file_name(image)).stem: image for image in truth.images}
        self._known = {category["id"] for category in truth.categories}
        self._numbers: dict[int, list[int]] = {image["id"]: [] for image in truth.images}
        for number, record in enumerate(self._records):
            if not record.get("bbox"):
                raise InputError(f"{detections.name}, result {number}: no bbox; {self.name} takes its prompts from boxes")
            if record["image_id"] in self._numbers:
                self._numbers[record["image_id"]].append(number)
        if may_be_empty:
            return
        if not any(self._numbers.values()):
            raise InputError(f"{detections.name}: no detection is of a photo of {truth.name}; give boxes of these photos")
        if not any(record["category_id"] in self._known for record in self._records):
            raise InputError(f"{detections.name}: no detection has a category of {truth.name}; give boxes with its ids")

    def counted_ids(self, sample: Sample) -> list[int]:
        """Numbers of the detections that are used, in the file's order."""
        known = [number for number in self._of_photo(sample) if self._records[number]["category_id"] in self._known]
        best_first = sorted(known, key=lambda number: -self._records[number]["score"])
        return sorted(best_first[: self._rules.most_boxes])

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        """Masks for the boxes of one photo, which the predictor has set."""
        ids = self.counted_ids(sample)
        boxes = np.asarray([self._records[number]["bbox"] for number in ids], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        asked = _on_photo(boxes, shape=sample.shape)
        masks, ious = _masks_of(predictor, sample.shape, boxes, asked=asked, rules=self._rules)
        detected = [float(self._records[number]["score"]) for number in ids]
        scores = [score * iou for score, iou in zip(detected, ious, strict=True)] if self._rules.scores_by_iou else detected
        categories = np.asarray([self._records[number]["category_id"] for number in ids])
        hits = hit_values(sample, boxes=boxes, categories=categories, scores=np.asarray(detected), masks=masks)
        every = self._of_photo(sample)
        unknown = sum(self._records[number]["category_id"] not in self._known for number in every)
        return Observation(
            key=sample.key,
            ids=ids,
            areas=[float(area) for area in np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)],
            values={"score": scores, "predicted_iou": ious, "asked": asked.astype(float).tolist(), **hits},
            masks=masks,
            skipped={
                "box of an unknown category": unknown,
                "box over the limit": len(every) - unknown - len(ids),
                "box off the photo (counted as wrong)": int(len(ids) - asked.sum()),
            },
        )

    def results(self, observations: Iterable[Observation]) -> list[dict[str, Any]]:
        """The masks in COCO's result format."""
        return [
            {name: self._records[number][name] for name in ("image_id", "category_id")} | {"score": score, "segmentation": mask}
            for seen in observations
            for number, score, mask in zip(seen.ids, seen.values["score"], seen.masks, strict=True)
        ]

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        """AP on the photos that were observed; see `Suite.summarise`."""
        truth = self._truth.of_images([self._images[seen.key]["id"] for seen in observations])
        numbers = average_precision(truth, self.results(observations), iou_type="segm")
        objects = [a for a in truth.annotations if not a.get("iscrowd", 0)]
        areas = [a["area"] for a in objects if a["category_id"] in self._known]
        crowds, strangers = len(truth.annotations) - len(objects), len(objects) - len(areas)
        sizes: Counter[str] = Counter(map(size_class, areas))
        estimates = {name: Estimate(value=value, n=len(areas)) for name, value in numbers.items()}
        value = estimates.pop("AP")
        if reference is not None:
            estimates["agreement"] = mean_agreement(*map(asked_alone, (observations, reference[1])))
        breakdown: dict[str, Estimate] = {
            size: Estimate(value=estimates.pop(name).value, n=sizes[size]) for name, size in SIZE_NUMBERS.items()
        }
        return self.result(
            value,
            observations,
            model=model,
            dataset=dataset,
            extra=estimates,
            skipped={"crowd": crowds} | ({"object of an unknown category": strangers} if strangers else {}),
            reference=reference,
            breakdown=breakdown,
            detector=self._detections.name,
            detector_sha256=self._detections.sha256,
        )

    def resample(
        self,
        observations: Sequence[Observation],
        *,
        weights: np.ndarray,
        reference: Sequence[Observation] | None = None,
    ) -> dict[str, np.ndarray]:
        """See `suite.Resamples`: AP, AP50, AP75 and the agreement."""
        ids = [self._images[seen.key]["id"] for seen in observations]
        truth, results = self._truth.of_images(ids), self.results(observations)
        numbers = resampled_ap(truth, results, iou_type="segm", image_ids=ids, weights=weights)
        if reference is not None:
            values = agreement(*map(asked_alone, (observations, reference)))
            numbers["agreement"] = resampled_means(values, weights=weights)
        return numbers

    def _of_photo(self, sample: Sample) -> list[int]:
        image = self._images.get(sample.key)
        if image is None:
            raise InputError(f"{self._truth.name} has no photo {sample.key}; give the annotations of the photos shown")
        if (image["height"], image["width"]) != sample.shape:
            stated = (image["height"], image["width"])
            raise InputError(f"photo {sample.key} is {sample.shape}, {self._truth.name} says {stated} (height, width)")
        return self._numbers[image["id"]]


def suite_name(protocol: InstanceProtocol) -> str:
    """What the suite of a protocol is called."""
    return f"instance_{protocol.name}"


def _on_photo(boxes: np.ndarray, *, shape: Shape) -> np.ndarray:
    """(P,) bool: which boxes, (P, 4) xyxy, have some of the photo in them."""
    height, width = shape
    first, last = np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], (width, height))
    return np.asarray((last > first).all(axis=1))


def asked_alone(observations: Sequence[Observation]) -> list[Observation]:
    """Observations of the boxes that models were asked about: two empty masks off the photo agree on nothing."""
    found = []
    for seen in observations:
        asked = seen.values.get("asked", [1.0] * len(seen.ids))
        ids, masks = ([value for value, was in zip(its, asked, strict=True) if was] for its in (seen.ids, seen.masks))
        found.append(seen.model_copy(update={"ids": ids, "masks": masks}))
    return found


def _masks_of(
    predictor: PredictorLike, shape: Shape, boxes: np.ndarray, *, asked: np.ndarray, rules: InstanceProtocol
) -> tuple[list[Rle], list[float]]:
    """RLE and predicted IoU for boxes (P, 4) xyxy, some at a time; an empty mask of IoU 0 where `asked` (P,) is False."""
    places = np.flatnonzero(asked)
    masks = [encode_mask(np.zeros(shape, bool))] * len(boxes)
    ious = [0.0] * len(boxes)
    step = prompts_per_call(predictor, shape)
    for start in range(0, len(places), step):
        chosen = places[start : start + step]
        answers = rules.answer(predictor, shape, boxes[chosen].astype(np.float32))
        for place, mask, iou in zip(chosen, answers.masks, answers.predicted_ious, strict=True):
            masks[place], ious[place] = encode_mask(mask), float(iou)
    return masks, ious
