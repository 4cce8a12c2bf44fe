"""The anomaly suite: masks of defects on goods, scored pixel by pixel."""

from collections.abc import Sequence

import numpy as np

from encoders.errors import InputError
from encoders.prompts import Prompts
from encoders.samples.rle import encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.mvtec import HOW_TO_GET, category_of
from eval_zeroshot.metrics.pixel_f1 import max_f1, max_f1_of_draws
from eval_zeroshot.predictors.protocol import PredictorLike, ask, prompts_per_call
from eval_zeroshot.results.agreement import agreement
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import Estimate, Result
from eval_zeroshot.results.statistics import RESAMPLES, mean_of_present, resampled_means
from eval_zeroshot.suites.photo_suite import PhotoSuite

LEAST_SCORE = 1e-6  # of a pixel under a mask whose predicted IoU is not above 0: still more than under none


class Anomaly(PhotoSuite):
    """Best pixel F1 of each category with the oracle's boxes; see `protocol`."""

    name = "anomaly"
    version = "1"
    resamples = RESAMPLES
    unit_of_n = "categories"
    title = "best pixel F1"
    family = "anomaly"
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
        best, plain, empty = {}, [], 0
        for category, (members, values) in _by_category(observations).items():
            positives, pixels = int(values["positives"].sum()), int(values["pixels"].sum())
            found = max_f1(
                values["score"], hits=values["hits"], surplus=values["surplus"], positives=positives, pixels=pixels
            )
            if found is None:
                empty += 1
                continue
            best[category] = Estimate(value=found.f1, n=len(members))
            called = values["hits"].sum() + values["surplus"].sum()
            plain.append(float(2 * values["hits"].sum() / (called + positives)))
        return self.result(
            Estimate.of([estimate.value for estimate in best.values() if estimate.value is not None]),
            observations,
            model=model,
            dataset=dataset,
            extra={"every_mask": Estimate.of(plain)} | best,
            skipped={"category without a defect": empty},
            reference=reference,
        )

    def resample(
        self,
        observations: Sequence[Observation],
        *,
        weights: np.ndarray,
        reference: Sequence[Observation] | None = None,
    ) -> dict[str, np.ndarray]:
        """See `suite.Resamples`: each category, and means over those that a draw has a defect of."""
        drawn: dict[str, np.ndarray] = {}
        plain = []
        for category, (members, values) in _by_category(observations).items():
            of_group = weights[:, [members[place] for place in values["photo"].astype(np.int64)]]  # (B, K)
            hits, surplus = of_group * values["hits"], of_group * values["surplus"]
            positives, pixels = weights[:, members] @ values["positives"], weights[:, members] @ values["pixels"]
            drawn[category] = max_f1_of_draws(
                values["score"], hits=hits, surplus=surplus, positives=positives, pixels=pixels
            )
            called = hits.sum(axis=1) + surplus.sum(axis=1)
            with np.errstate(invalid="ignore"):
                plain.append(np.where(positives > 0, 2 * hits.sum(axis=1) / (called + positives), np.nan))
        drawn |= {"value": mean_of_present([*drawn.values()]), "every_mask": mean_of_present(plain)}
        if reference is not None:
            drawn["agreement"] = resampled_means(agreement(observations, reference), weights=weights)
        return drawn


def _masks_of(predictor: PredictorLike, sample: Sample, counted: list[int]) -> tuple[list[np.ndarray], list[float]]:
    """Masks and predicted IoUs for the boxes of some objects, some at a time."""
    masks: list[np.ndarray] = []
    scores: list[float] = []
    step = prompts_per_call(predictor, sample.shape)
    for start in range(0, len(counted), step):
        boxes = sample.boxes[counted[start : start + step]]
        found, ious, _ = ask(predictor, Prompts(boxes=boxes), shape=sample.shape, multimask=False)
        masks += list(found[:, 0])
        scores += [float(iou) for iou in ious[:, 0]]
    return masks, scores


def _by_category(observations: Sequence[Observation]) -> dict[str, tuple[list[int], dict[str, np.ndarray]]]:
    """Category -> places of its photos, and their values one photo after the other: K groups of pixels, P photos.

    `photo` says for each group of pixels which of the P photos it is of.
    """
    members: dict[str, list[int]] = {}
    for place, seen in enumerate(observations):
        members.setdefault(category_of(seen.key), []).append(place)
    found = {}
    for category, places in members.items():
        photos = [observations[place].values for place in places]
        values = {
            name: np.asarray([value for photo in photos for value in photo[name]], np.float64)
            for name in ("score", "hits", "surplus", "positives", "pixels")
        }
        values["photo"] = np.repeat(np.arange(len(photos)), [len(photo["score"]) for photo in photos])
        found[category] = places, values
    return found
