"""What a reference model, usually the teacher, answers about a photo without annotations: prompts, and its masks for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoders.geometry import Shape
from encoders.prompts import Prompts
from encoders.samples.rle import Rle, encode_mask
from eval_zeroshot.predictors.protocol import PredictorLike, ask, prompts_per_call
from eval_zeroshot.prompting.clicks import point_prompts
from eval_zeroshot.prompting.point_grid import distinct_boxes, mask_boxes, point_grid

POINTS_PER_SIDE = 8  # of the grid on a photo: a student of 256 px and a teacher of 768 px take 4 s a photo on one core
DUPLICATE_IOU = 0.7  # of boxes, as segment-anything's mask generation has it
GRID_IN_WORDS = (
    f"points: a {POINTS_PER_SIDE} x {POINTS_PER_SIDE} grid, those left out whose mask by the reference, the most confident of "
    f"three, is empty or overlaps a more confident point's by a box IoU > {DUPLICATE_IOU:g}; boxes: those of these masks"
)
FILE_IN_WORDS = "points and boxes: those of masks that `repvit-sam masks` has written"


@dataclass(frozen=True, kw_only=True)
class PointsAndBoxes:
    """P objects to ask for, each by a point and by a box.

    Attributes:
        points: (P, 2) float xy in pixels of the photo.
        boxes: (P, 4) float xyxy in pixels of the photo, right and lower edge exclusive.
    """

    points: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Objects with a model's masks: (P,) for the points, the most confident of three; (P,) for the boxes, the single mask."""

    prompts: PointsAndBoxes
    of_points: list[Rle]
    of_boxes: list[Rle]


def answer(predictor: PredictorLike, *, shape: Shape, prompts: PointsAndBoxes | None = None) -> Answered:
    """A model's masks for prompts on the photo that it has set.

    Args:
        shape: (height, width) of the photo.
        prompts: what to ask; None asks a grid of points, and for the boxes of the masks that they give.
    """
    points = point_grid(shape, per_side=POINTS_PER_SIDE) if prompts is None else prompts.points
    masks, boxes, scores = _ask_points(predictor, points, shape=shape)
    if prompts is None:
        there = np.flatnonzero([box is not None for box in boxes])
        found = np.asarray([boxes[index] for index in there], np.float32).reshape(-1, 4)
        # In the grid's order, so that the prompts do not depend on how nearly equal scores are rounded
        kept = np.sort(distinct_boxes(found, scores[there], iou=DUPLICATE_IOU))
        masks = [masks[index] for index in there[kept]]
        prompts = PointsAndBoxes(points=points[there[kept]], boxes=found[kept] + np.asarray([0, 0, 1, 1], np.float32))
    return Answered(prompts=prompts, of_points=masks, of_boxes=_ask_boxes(predictor, prompts.boxes, shape=shape))


def _ask_points(
    predictor: PredictorLike, points: np.ndarray, *, shape: Shape
) -> tuple[list[Rle], list[np.ndarray | None], np.ndarray]:
    """The most confident mask of each of (P, 2) points, its box (4,), ends inclusive, None if empty, and (P,) scores."""
    masks: list[Rle] = []
    boxes: list[np.ndarray | None] = []
    scores: list[float] = []
    for part in _parts(predictor, points, shape=shape):
        three, predicted, _ = ask(predictor, point_prompts(part), shape=shape, multimask=True)
        for found, its in zip(three, predicted, strict=True):
            best = int(its.argmax())
            masks.append(encode_mask(found[best]))
            boxes.append(mask_boxes(found[best][None])[0] if found[best].any() else None)
            scores.append(float(its[best]))
    return masks, boxes, np.asarray(scores, np.float32)


def _ask_boxes(predictor: PredictorLike, boxes: np.ndarray, *, shape: Shape) -> list[Rle]:
    """The single mask of each of (P, 4) boxes."""
    found: list[Rle] = []
    for part in _parts(predictor, boxes, shape=shape):
        masks, _, _ = ask(predictor, Prompts(boxes=part), shape=shape, multimask=False)
        found += [encode_mask(mask) for mask in masks[:, 0]]
    return found


def _parts(predictor: PredictorLike, prompts: np.ndarray, *, shape: Shape) -> Sequence[np.ndarray]:
    """PointsAndBoxes in groups whose masks fit into memory."""
    step = prompts_per_call(predictor, shape)
    return [prompts[start : start + step] for start in range(0, len(prompts), step)]
