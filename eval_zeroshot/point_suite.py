"""The point suite: clicks of a simulated user."""

from collections.abc import Sequence

import numpy as np

from encoders.overlap import mask_iou
from eval_zeroshot.clicks import Click, centre_point, next_click
from eval_zeroshot.object_iou import Answers, InstanceIou, Objects
from eval_zeroshot.protocol import PredictorLike, ask


class PointIou(InstanceIou):
    """Clicks of a simulated user; see `protocol`.

    Args:
        clicks: numbers of clicks to report besides the first.
    """

    name = "point"
    version = "1"
    primary = "click_1"

    def __init__(self, *, clicks: Sequence[int] = (3, 5)) -> None:
        self.clicks = tuple(clicks)
        extra = ", ".join([*(f"click_{count}" for count in self.clicks), "oracle of the three masks"])
        self.protocol = (
            "first click at the object's pixel farthest from its boundary, the most confident of three masks; each "
            "further click at the pixel of the error regions farthest from its region's boundary, given with all "
            "earlier clicks and the logits of the mask before, single mask output; a perfect mask gets no further "
            f"click and is kept; IoU at the photo's resolution; mean over objects, crowds skipped. extra: {extra}"
        )

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        history = [[centre_point(truth)] for truth in objects.truths]
        points, labels = _prompts(history)
        three, scores, logits = ask(predictor, shape=objects.shape, points=points, labels=labels, multimask=True)
        best = scores.argmax(axis=1)
        every = np.arange(len(best))
        first = three[every, best]
        ious = mask_iou(three, objects.truths[:, None])
        values = {"click_1": ious[every, best], "oracle": ious.max(axis=1)}
        masks, logits = first.copy(), logits[every, best][:, None].copy()
        for count in range(2, max(self.clicks, default=1) + 1):
            self._refine(predictor, objects, history=history, masks=masks, logits=logits)
            if count in self.clicks:
                values[f"click_{count}"] = mask_iou(masks, objects.truths)
        return Answers(values=values, masks=first)

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
        points, labels = _prompts([history[index] for index in wrong])
        found, _, feedback = ask(
            predictor, shape=objects.shape, points=points, labels=labels, masks=logits[wrong], multimask=False
        )
        masks[wrong], logits[wrong] = found[:, 0], feedback


def _prompts(history: Sequence[Sequence[Click]]) -> tuple[np.ndarray, np.ndarray]:
    """P click sequences of equal length N -> points (P, N, 2) float32 xy and labels (P, N) int64."""
    clicks = np.asarray(history, np.float32)
    return clicks[..., :2], clicks[..., 2].astype(np.int64)
