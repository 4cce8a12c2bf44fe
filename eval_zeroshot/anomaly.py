"""The anomaly suite: masks of defects on goods, scored pixel by pixel."""

from collections.abc import Sequence

import numpy as np

from encoders.errors import InputError
from encoders.mvtec import HOW_TO_GET, category_of
from encoders.rle import encode_mask
from encoders.sample import Sample
from eval_zeroshot.observations import Observation
from eval_zeroshot.photo_suite import PhotoSuite
from eval_zeroshot.pixel_f1 import max_f1
from eval_zeroshot.protocol import PredictorLike, ask, prompts_per_call
from eval_zeroshot.results import Estimate, Result

LEAST_SCORE = 1e-6  # of a pixel under a mask whose predicted IoU is not above 0: still more than under none


class Anomaly(PhotoSuite):
    """Best pixel F1 of each category with the oracle's boxes; see `protocol`."""

    name = "anomaly"
    version = "1"
    protocol = (
        "stated (RepViT-SAM): F_p on MVTec AD; inferred: the maximum pixel F1 over thresholds of SAA+, whose code computes "
        "it; not known: the prompts and settings behind its numbers (37.65 for SAM ViT-H), so they cannot be compared with "
        "these. ours: an oracle's prompts, the box of each connected region of the truth, none on a good photo, so that a "
        "model is measured on the outline of a defect, not on finding it; single mask output; a pixel's score is the highest "
        "predicted IoU of the masks over it, 0 outside; F1 over all pixels of a category's test photos, good ones too, at the "
        "best threshold of all; mean over categories, which n and ± count. extra: the F1 of each category; every_mask, the "
        "mean without a threshold"
    )

    def counted_ids(self, sample: Sample) -> list[int]:
        return [int(number) for number, mask in zip(sample.annotation_ids, sample.masks, strict=True) if mask.any()]

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        """Masks and the pixels of each score on one photo.

        Raises:
            InputError: the sample does not say its category.
        """
        if "category" not in sample.meta:
            raise InputError(f"the anomaly suite needs photos with a category, {sample.key} has none; give {HOW_TO_GET}")
        counted = [index for index, mask in enumerate(sample.masks) if mask.any()]
        masks, scores = _masks_of(predictor, sample, counted)
        truth = np.any(list(sample.masks), axis=0) if len(sample.masks) else np.zeros(sample.shape, bool)
        painted = np.zeros(sample.shape)
        for mask, score in zip(masks, scores, strict=True):
            painted[mask] = np.maximum(painted[mask], max(score, LEAST_SCORE))
        levels = np.unique(painted[painted > 0])
        hits = [int((truth & (painted == level)).sum()) for level in levels]
        surplus = [int((~truth & (painted == level)).sum()) for level in levels]
        return Observation(
            key=sample.key,
            ids=self.counted_ids(sample),
            areas=[float(sample.areas[index]) for index in counted],
            values={
                "predicted_iou": scores,
                "score": levels.tolist(),
                "hits": [float(number) for number in hits],
                "surplus": [float(number) for number in surplus],
                "positives": [float(truth.sum())],
                "pixels": [float(truth.size)],
            },
            masks=[encode_mask(mask) for mask in masks],
        )

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        categories: dict[str, list[Observation]] = {}
        for seen in observations:
            categories.setdefault(category_of(seen.key), []).append(seen)
        best, plain = {}, []
        for category, members in categories.items():
            values = {name: _joined(members, name) for name in ("score", "hits", "surplus", "positives", "pixels")}
            positives, pixels = int(values["positives"].sum()), int(values["pixels"].sum())
            found = max_f1(
                values["score"], hits=values["hits"], surplus=values["surplus"], positives=positives, pixels=pixels
            )
            if found is not None:
                best[category] = found.f1
                called = values["hits"].sum() + values["surplus"].sum()
                plain.append(float(2 * values["hits"].sum() / (called + positives)))
        extra = {"every_mask": Estimate.of(plain)}
        extra |= {category: Estimate(value=f1, n=len(categories[category])) for category, f1 in best.items()}
        return self.result(
            Estimate.of(list(best.values())),
            observations,
            model=model,
            dataset=dataset,
            extra=extra,
            skipped={"category without a defect": len(categories) - len(best)},
            reference=reference,
        )


def _masks_of(predictor: PredictorLike, sample: Sample, counted: list[int]) -> tuple[list[np.ndarray], list[float]]:
    """Masks and predicted IoUs for the boxes of some objects, some at a time."""
    masks: list[np.ndarray] = []
    scores: list[float] = []
    step = prompts_per_call(sample.shape)
    for start in range(0, len(counted), step):
        boxes = sample.boxes[counted[start : start + step]]
        found, ious, _ = ask(predictor, shape=sample.shape, boxes=boxes, multimask=False)
        masks += list(found[:, 0])
        scores += [float(iou) for iou in ious[:, 0]]
    return masks, scores


def _joined(observations: Sequence[Observation], name: str) -> np.ndarray:
    return np.asarray([value for seen in observations for value in seen.values[name]], np.float64)
