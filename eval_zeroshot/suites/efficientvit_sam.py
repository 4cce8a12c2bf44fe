"""Boxes and points as EfficientViT-SAM's evaluation asks them, so that its published mIoU has a column to be held against."""

from collections.abc import Sequence

import numpy as np

from encoders.prompts import Prompts
from encoders.samples.sample import Sample
from eval_zeroshot.metrics.calibration import ECE_BINS, predicted_iou_and_stability
from eval_zeroshot.metrics.masks import Size, sizes_with_both_ends
from eval_zeroshot.predictors.protocol import PredictorLike, ask
from eval_zeroshot.prompting.clicks import BACKGROUND, Click, click_prompts, next_click
from eval_zeroshot.results.reading import PromptKind
from eval_zeroshot.suites.object_iou import OF_THREE_TITLES, ORACLE_TITLE, Answers, InstanceIou, Objects

EPSILON = 1e-7  # added to the union, so that two empty masks score 0
SMALLEST_AREA_PIXELS = 1
CLICKS = (1, 3, 5)  # published
COMMON = (
    "area under 1 skipped, crowds not; IoU = overlap / (union + 1e-7); sizes by annotated area, 1024 and 9216 belong to "
    "both neighbours; mean over objects (EfficientViT-SAM, applications/efficientvit_sam/eval_efficientvit_sam_model.py "
    "and sam_eval_utils.py)"
)
HERE = (
    "IoU as a fraction, there in percent; masks that are stored as compressed RLE are read, there refused. extra besides: "
    f"oracle of the three masks; predicted IoU, its calibration error (ece, {ECE_BINS} bins) and stability of the mask that "
    "counts"
)


class _EfficientVitSamRule(InstanceIou):
    version = "1"
    reasons = ("area below 1",)

    def why_skipped(self, sample: Sample, index: int) -> str | None:
        return "area below 1" if sample.areas[index] < SMALLEST_AREA_PIXELS else None

    def sizes_of(self, area: float) -> Sequence[Size]:
        return sizes_with_both_ends(area)


class EfficientVitSamBox(_EfficientVitSamRule):
    """Ground-truth boxes; see `protocol`."""

    name = "box_efficientvit_sam"
    primary = "most_confident"
    prompt: PromptKind | None = "box"
    title = "box mIoU (efficientvit_sam)"
    family = "box"
    further_titles = OF_THREE_TITLES
    protocol = f"stated: ground-truth box, of three masks the one with the highest predicted IoU; {COMMON}; done here: {HERE}"

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        masks, ious, scores, logits, oracle = _argmax(predictor, objects, Prompts(boxes=objects.boxes))
        further = predicted_iou_and_stability(scores, logits, shape=objects.shape)
        return Answers(values={"most_confident": ious, "oracle": oracle, **further}, masks=masks)


class EfficientVitSamPoint(_EfficientVitSamRule):
    """Clicks by RITM's clicker; see `protocol`."""

    name = "point_efficientvit_sam"
    primary = "click_1"
    prompt: PromptKind | None = "point"
    title = "1 click mIoU (efficientvit_sam)"
    family = "point"
    further_titles = ORACLE_TITLE
    protocol = (
        "stated: RITM's clicker (first click on the empty mask; the deeper of missing and surplus region, a tie to the "
        "surplus, no pixel twice; a background click at the photo's first pixel where nothing is left to correct), all "
        "clicks so far and no mask, of three masks the one with the highest predicted IoU each time; click_1, click_3, "
        f"click_5; {COMMON}; done here: one sequence of clicks gives all three numbers; {HERE}, both of the first click"
    )

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        history: list[list[Click]] = [[] for _ in objects.ids]
        masks = first = np.zeros_like(objects.truths)
        values: dict[str, np.ndarray] = {}
        for count in range(1, max(CLICKS) + 1):
            for clicks, truth, mask in zip(history, objects.truths, masks, strict=True):
                clicks.append(next_click(truth, mask, avoid=clicks) or Click(0.0, 0.0, BACKGROUND))
            masks, ious, scores, logits, oracle = _argmax(predictor, objects, click_prompts(history))
            if count == 1:
                first, values["oracle"] = masks, oracle
                values |= predicted_iou_and_stability(scores, logits, shape=objects.shape)
            if count in CLICKS:
                values[f"click_{count}"] = ious
        return Answers(values=values, masks=first)


def _argmax(
    predictor: PredictorLike, objects: Objects, prompts: Prompts
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The most confident of three masks (P, H, W), its IoU, score (P,) and logits (P, s, s); the best IoU of the three."""
    three, scores, logits = ask(predictor, prompts, shape=objects.shape, multimask=True)
    truths = objects.truths[:, None]
    overlap = (three & truths).sum(axis=(-2, -1), dtype=np.int64)
    ious = overlap / ((three | truths).sum(axis=(-2, -1), dtype=np.int64) + EPSILON)
    every, best = np.arange(len(three)), scores.argmax(axis=1)
    return three[every, best], ious[every, best], scores[every, best], logits[every, best], ious.max(axis=1)
