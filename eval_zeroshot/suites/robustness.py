"""What a prompt that is a little off costs: jittered boxes, shifted clicks. Protocols of ours, equal prompts for all."""

from abc import abstractmethod

import numpy as np
from scipy.ndimage import distance_transform_edt

from encoders.prompts import Prompts
from encoders.scored import ScoredPrediction
from eval_zeroshot.metrics.calibration import ECE_BINS, predicted_iou_and_stability
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.predictors.scoring import ask_scored
from eval_zeroshot.prompting.clicks import FOREGROUND, Click, centre_point, click_prompts
from eval_zeroshot.prompting.seeds import object_random
from eval_zeroshot.results.reading import PromptKind
from eval_zeroshot.suites.object_iou import Answers, InstanceIou, Objects

REPORTED = (
    "extra: clean, mIoU at the other levels, drop_LEVEL = clean minus noisy; predicted IoU, its calibration error (ece, "
    f"{ECE_BINS} bins) and stability at the primary level. IoU at the photo's resolution; mean over objects, crowds skipped"
)


class _Noisy(InstanceIou):
    """The same question at several levels of noise, in percent; 0 is the clean prompt."""

    version = "1"
    levels: tuple[int, ...]

    @abstractmethod
    def answer_at(self, predictor: PredictorLike, objects: Objects, level: int) -> ScoredPrediction:
        """The answer to prompts with noise of a level in percent, beside the truth."""

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        seen = self.answer_at(predictor, objects, 0)
        values = {"clean": seen.iou}
        kept = seen.masks
        for level in self.levels:
            seen = self.answer_at(predictor, objects, level)
            values[f"noise_{level}"] = seen.iou
            values[f"drop_{level}"] = values["clean"] - values[f"noise_{level}"]
            if self.primary == f"noise_{level}":
                kept = seen.masks
                values |= predicted_iou_and_stability(seen.score, seen.logits, shape=objects.shape)
        return Answers(values=values, masks=kept)


class BoxJitter(_Noisy):
    """Ground-truth boxes with each side moved; see `protocol`."""

    name = "box_jitter"
    levels = (5, 10, 20)
    primary = "noise_10"
    prompt: PromptKind | None = "box"
    title = "box mIoU (jitter)"
    family = "box"
    protocol = (
        "ground-truth box, each side moved by a uniformly random part of up to +-5, 10 or 20 % of the box's width (left, "
        "right) or height (top, bottom), within the photo, the same random part at each level; seeded by photo and object; "
        f"single mask output (SAM's mask token 0). value: mIoU at 10 %. {REPORTED}"
    )

    def answer_at(self, predictor: PredictorLike, objects: Objects, level: int) -> ScoredPrediction:
        boxes = objects.boxes
        if level:
            randoms = [object_random("box_jitter", objects.key, int(id_), seed=self.seed) for id_ in objects.ids]
            parts = level / 100 * np.stack([random.uniform(-1, 1, 4) for random in randoms])
            boxes = jittered(boxes, parts=parts, shape=objects.shape)
        prompts = Prompts(boxes=boxes)
        return ask_scored(predictor, prompts, truths=objects.truths, shape=objects.shape, multimask=False)


class PointShift(_Noisy):
    """One click that is not at the centre; see `protocol`."""

    name = "point_shift"
    levels = (25, 50, 100)
    primary = "noise_50"
    prompt: PromptKind | None = "point"
    title = "1 click mIoU (shift)"
    family = "point"
    protocol = (
        "one click on a random pixel of the object, as deep in it (distance to the boundary) as at least 75, 50 or 0 % of "
        "its deepest pixel for noise of 25, 50 or 100 %; clean: the deepest pixel; seeded by photo and object; the most "
        f"confident of three masks. value: mIoU at 50 %. {REPORTED}"
    )

    def answer_at(self, predictor: PredictorLike, objects: Objects, level: int) -> ScoredPrediction:
        clicks = []
        for truth, id_ in zip(objects.truths, objects.ids, strict=True):
            random = object_random("point_shift", objects.key, int(id_), level, seed=self.seed)
            clicks.append([shifted_click(truth, shift=level / 100, random=random) if level else centre_point(truth)])
        prompts = click_prompts(clicks)
        return ask_scored(predictor, prompts, truths=objects.truths, shape=objects.shape, multimask=True, only_kept=True)


def jittered(boxes: np.ndarray, *, parts: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boxes (P, 4) xyxy with their sides moved by `parts` (P, 4) of their width or height, within a photo (height, width)."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    limits = np.tile(np.asarray(shape[::-1], np.float64), 2)
    return np.clip(boxes + parts * sides, 0, limits).astype(np.float32)


def shifted_click(truth: np.ndarray, *, shift: float, random: np.random.Generator) -> Click:
    """A random pixel of an object (H, W) bool at least (1 - shift) times as deep in it as its deepest one."""
    depth = distance_transform_edt(np.pad(truth, 1))[1:-1, 1:-1]
    rows, columns = np.nonzero((depth > 0) & (depth >= (1 - shift) * depth.max()))
    chosen = int(random.integers(len(rows)))
    return Click(float(columns[chosen]), float(rows[chosen]), FOREGROUND)
