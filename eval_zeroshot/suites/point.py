"""The point suite: clicks of a simulated user, by the rule of SAM's paper (arXiv:2304.02643, section 7.1 and D.1)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from encoders.samples.overlap import mask_iou
from eval_zeroshot.metrics.calibration import ECE_BINS, predicted_iou_and_stability
from eval_zeroshot.predictors.protocol import PredictorLike, ask
from eval_zeroshot.predictors.scoring import ask_scored
from eval_zeroshot.prompting.clicks import Click, centre_point, click_prompts, next_click
from eval_zeroshot.results.reading import PromptKind
from eval_zeroshot.suites.object_iou import ORACLE_TITLE, Answers, InstanceIou, Objects


class PointIou(InstanceIou):
    """Clicks of a simulated user; see `protocol`.

    Args:
        clicks: numbers of clicks to report besides the first.
    """

    name = "point"
    version = "2"
    primary = "click_1"
    prompt: PromptKind | None = "point"
    title = "1 click mIoU"
    family = "point"
    further_titles = ORACLE_TITLE

    def __init__(self, *, clicks: Sequence[int] = (2, 3, 5, 9)) -> None:
        self.clicks = tuple(clicks)
        extra = ", ".join([*(f"click_{count}" for count in self.clicks), "oracle of the three masks"])
        further = (
            "each further click at the pixel of the error regions farthest from its region's boundary, given with all earlier "
            "clicks and the logits of the mask before, single mask output; a perfect mask gets no further click and is kept; "
        )
        self.protocol = (
            "first click at the object's pixel farthest from its boundary, the most confident of three masks; "
            f"{further if self.clicks else ''}IoU at the photo's resolution; mean over objects, crowds skipped. "
            f"extra: {extra}; predicted IoU, its calibration error (ece, {ECE_BINS} bins) and stability of the first click's "
            "most confident mask"
        )

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        history = [[centre_point(truth)] for truth in objects.truths]
        truths, shape = objects.truths, objects.shape
        first = ask_scored(predictor, click_prompts(history), truths=truths, shape=shape, multimask=True)
        values = {"click_1": first.iou, "oracle": first.ious.max(axis=1)}
        values |= predicted_iou_and_stability(first.score, first.logits, shape=shape)
        masks, logits = first.masks.copy(), first.logits[:, None].copy()
        for count in range(2, max(self.clicks, default=1) + 1):
            self._refine(predictor, objects, history=history, masks=masks, logits=logits)
            if count in self.clicks:
                values[f"click_{count}"] = mask_iou(masks, truths)
        return Answers(values=values, masks=first.masks)

    def _refine(
        self,
        predictor: PredictorLike,
        objects: Objects,
        *,
        history: list[list[Click]],
        masks: np.ndarray,
        logits: np.ndarray,
    ) -> None:
        """One more click for each object that is not perfect yet; `history`, `masks` and `logits` are updated."""
        wrong = []
        for index, (truth, mask) in enumerate(zip(objects.truths, masks, strict=True)):
            click = next_click(truth, mask)
            if click is not None:
                history[index].append(click)
                wrong.append(index)
        if not wrong:
            return
        # An object that is perfect once stays so, hence those still wrong have the same number of clicks.
        prompts = replace(click_prompts([history[index] for index in wrong]), masks=logits[wrong])
        found, _, feedback = ask(predictor, prompts, shape=objects.shape, multimask=False)
        masks[wrong], logits[wrong] = found[:, 0], feedback

