"""The SegInW suite: mask AP with a detector's boxes on each of many data sets, and the mean of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from encoders.errors import InputError
from encoders.samples.sample import Sample
from eval_zeroshot.ap.annotations import read_annotations
from eval_zeroshot.ap.detections import read_detections
from eval_zeroshot.datasets.seginw import HOW_TO_GET, annotation_files, photo_key
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.results.agreement import agreement, mean_agreement
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import Estimate, Result
from eval_zeroshot.results.statistics import mean_of_present, resampled_means
from eval_zeroshot.suites.detector_boxes.instance import InstanceAp, asked_alone
from eval_zeroshot.suites.detector_boxes.instance_protocols import InstanceProtocol, single_mask
from eval_zeroshot.suites.photo_suite import PhotoSuite

MOST_BOXES = 100
HQ_SAM = InstanceProtocol(
    name="seginw",
    version="1",
    stated=f"the {MOST_BOXES} best boxes of Grounding DINO Swin-B, single mask output, the detector's score (HQ-SAM, "
    "seginw/test_ap_on_seginw.py, which gives 48.7 for SAM ViT-H as RepViT-SAM's table does)",
    inferred="that RepViT-SAM did the same",
    answer=single_mask,
    most_boxes=MOST_BOXES,
)


class SegInW(PhotoSuite):
    """Mean over data sets of mask AP; see `protocol`.

    Args:
        parts: name of a data set -> its suite.
        keys: key of a photo -> (data set, key that the photo has within it).
        boxes: name of the folder of boxes, for results.
    """

    name = "seginw"
    version = "1"
    resamples = InstanceAp.resamples
    unit_of_n = "data sets"
    title = "mean mask AP"
    family = "seginw"

    def __init__(self, *, parts: dict[str, InstanceAp], keys: dict[str, tuple[str, str]], boxes: str) -> None:
        self._parts, self._keys, self._boxes = parts, keys, boxes
        protocols = "\n".join(f"{name} {part.protocol}" for name, part in parts.items())
        self._sha256 = hashlib.sha256(protocols.encode()).hexdigest()  # each part's protocol holds the checksum of its boxes
        self.protocol = (
            f"boxes of {boxes}, one file for each of {len(parts)} data sets (sha256 of all {self._sha256[:12]}); "
            f"{HQ_SAM.description}; AP of COCO on each data set, at most 100 masks of a category and photo; value is the mean "
            "of the data sets' AP, which n and ± count. extra: the AP of each, AP50 and AP75 likewise as means"
        )

    @classmethod
    def open(cls, data: Path | str, *, boxes: Path | str | None) -> "SegInW":
        """The suite for the data sets in a folder and a detector's boxes for each, `BOXES/NAME.json` in COCO's result format.

        Raises:
            InputError: no data sets, no folder of boxes, or boxes that do not fit.
        """
        files = annotation_files(data)
        if not files:
            raise InputError(f"seginw needs SegInW's data sets, {data} has none. {HOW_TO_GET}")
        layout = "a folder of a detector's results in COCO's format, one for each data set, NAME.json, as Grounding DINO's"
        if boxes is None or not Path(boxes).is_dir():
            given = "none are given" if boxes is None else f"{boxes} is no folder"
            raise InputError(f"seginw needs a detector's boxes, {given}; give by --boxes {layout}")
        absent = [name for name in files if not (Path(boxes) / f"{name}.json").is_file()]
        if absent:
            raise InputError(f"{boxes} has no {absent[0]}.json ({len(absent)} of {len(files)} are missing); give {layout}")
        parts, keys = {}, {}
        for name, path in files.items():
            truth = read_annotations(path)
            detections = read_detections(Path(boxes) / f"{name}.json", may_be_empty=True)
            parts[name] = InstanceAp(HQ_SAM, detections=detections, truth=truth, may_be_empty=True)
            for image in truth.images:
                photo = truth.file_name(image)
                keys[photo_key(name, photo)] = name, Path(photo).stem
        return cls(parts=parts, keys=keys, boxes=Path(boxes).name)

    def counted_ids(self, sample: Sample) -> list[int]:
        part, inner = self._inside(sample)
        return part.counted_ids(inner)

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        part, inner = self._inside(sample)
        return part.observe(predictor, inner).model_copy(update={"key": sample.key})

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        results = {
            name: self._parts[name].summarise(seen, model=model, dataset=name)
            for name, seen in self._by_part(observations).items()
        }
        with_ap = {name: result for name, result in results.items() if result.value is not None}
        extra = {
            number: Estimate.of([value for result in with_ap.values() if (value := result.extra[number].value) is not None])
            for number in ("AP50", "AP75")
        }
        extra |= {name: Estimate(value=result.value, n=result.n) for name, result in with_ap.items()}
        if reference is not None:
            extra["agreement"] = mean_agreement(*map(asked_alone, (observations, reference[1])))
        return self.result(
            Estimate.of([result.value for result in with_ap.values() if result.value is not None]),
            observations,
            model=model,
            dataset=dataset,
            extra=extra,
            skipped={
                "crowd": sum(result.skipped.get("crowd", 0) for result in results.values()),
                "data set without an object": len(results) - len(with_ap),
            },
            reference=reference,
            detector=self._boxes,
            detector_sha256=self._sha256,
        )

    def resample(
        self,
        observations: Sequence[Observation],
        *,
        weights: np.ndarray,
        reference: Sequence[Observation] | None = None,
    ) -> dict[str, np.ndarray]:
        """See `suite.Resamples`: AP of each data set, and means over those that a draw has objects of."""
        places: dict[str, list[int]] = {}
        for place, seen in enumerate(observations):
            places.setdefault(self._keys[seen.key][0], []).append(place)
        parts = {
            name: self._parts[name].resample(seen, weights=weights[:, places[name]])
            for name, seen in self._by_part(observations).items()
        }
        drawn = {
            number: mean_of_present([part[number] for part in parts.values()]) for number in ("value", "AP50", "AP75")
        }
        drawn |= {name: part["value"] for name, part in parts.items()}
        if reference is not None:
            values = agreement(*map(asked_alone, (observations, reference)))
            drawn["agreement"] = resampled_means(values, weights=weights)
        return drawn

    def _inside(self, sample: Sample) -> tuple[InstanceAp, Sample]:
        """The suite of the sample's data set, and the sample under the key that it has there."""
        if sample.key not in self._keys:
            raise InputError(f"photo {sample.key} is of none of {', '.join(self._parts)}; the seginw suite takes SegInW alone")
        name, key = self._keys[sample.key]
        return self._parts[name], replace(sample, key=key)

    def _by_part(self, observations: Sequence[Observation]) -> dict[str, list[Observation]]:
        found: dict[str, list[Observation]] = {}
        for seen in observations:
            name, key = self._keys[seen.key]
            found.setdefault(name, []).append(seen.model_copy(update={"key": key}))
        return found
