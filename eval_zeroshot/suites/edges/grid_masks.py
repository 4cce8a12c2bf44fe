"""All masks of a photo by a grid of clicks, unfiltered, for SAM's zero-shot edges."""

from dataclasses import dataclass

import numpy as np

from encoders.geometry import Shape
from eval_zeroshot.predictors.protocol import PredictorLike, ask, prompts_per_call
from eval_zeroshot.prompting.clicks import point_prompts
from eval_zeroshot.prompting.point_grid import distinct_boxes, mask_boxes, point_grid

POINTS_PER_SIDE = 16
BOX_NMS_IOU = 0.7


@dataclass(frozen=True, kw_only=True)
class GridMasks:
    """N masks of one photo, at the decoder's resolution.

    Attributes:
        logits: (N, S/4, S/4) float32; what is above 0 at the photo's resolution is mask.
        scores: (N,) float32, predicted IoU.
        boxes: (N, 4) float32 xyxy of the masks' first and last pixels, both inclusive.
    """

    logits: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


def grid_masks(predictor: PredictorLike, *, shape: Shape, per_side: int = POINTS_PER_SIDE) -> GridMasks:
    """The three masks of each point of the grid, each point asked alone; masks without a pixel are left out.

    Memory: the masks themselves only for some prompts at a time, their logits for all: 200 MB for 768 at S = 1024.
    """
    points, step = point_grid(shape, per_side=per_side), prompts_per_call(predictor, shape)
    parts = []
    for start in range(0, len(points), step):
        prompts = point_prompts(points[start : start + step])
        masks, scores, logits = ask(predictor, prompts, shape=shape, multimask=True)
        seen = np.asarray(masks.any(axis=(2, 3)))
        parts.append((logits[seen].astype(np.float32), scores[seen].astype(np.float32), mask_boxes(masks[seen])))
    logits, scores, boxes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return GridMasks(logits=logits, scores=scores, boxes=boxes)


def distinct(masks: GridMasks, *, iou: float = BOX_NMS_IOU) -> GridMasks:
    """What greedy non-maximum suppression by predicted IoU leaves: no two boxes overlap by more than `iou`."""
    kept = distinct_boxes(masks.boxes, masks.scores, iou=iou)
    return GridMasks(logits=masks.logits[kept], scores=masks.scores[kept], boxes=masks.boxes[kept])
