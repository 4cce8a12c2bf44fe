"""Everything in a photo: masks of a grid of points, filtered and without duplicates; segment-anything's, or for a budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.samples.rle import encode_mask
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.prompting.point_grid import distinct_boxes, mask_boxes, point_grid
from eval_zeroshot.suites.everything.candidates import Candidate, ask_points
from eval_zeroshot.suites.everything.order import PointOrder
from eval_zeroshot.suites.everything.regions import without_small_regions
from eval_zeroshot.suites.everything.settings import MaskSettings

CLEANED_NMS_IOU = 0.7  # cleaned masks may overlap at least so much, as segment-anything's crop_nms_thresh has it
POINTS_AT_A_TIME = 16  # asked before the order is reconsidered; part of what a budget's result depends on


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What a grid of points gave on one photo.

    Attributes:
        asked: (P,) indices into the grid, in the order they were asked.
        candidates: the masks that pass the quality thresholds, duplicates among them.
    """

    asked: np.ndarray
    candidates: tuple[Candidate, ...]

    def first(self, count: int) -> "Exploration":
        """What the first `count` points gave: the same as asking with this budget, since each point is asked alone."""
        asked = self.asked[:count]
        among = set(asked.tolist())
        return Exploration(asked=asked, candidates=tuple(c for c in self.candidates if c.point in among))


class MaskGenerator:
    """Masks of everything in a photo, by any predictor. The counterpart of segment-anything's `SamAutomaticMaskGenerator`.

    Args:
        predictor: e.g. `encoders.Predictor`.
        settings: segment-anything's defaults when None.
    """

    def __init__(self, predictor: PredictorLike, *, settings: MaskSettings | None = None) -> None:
        self.predictor = predictor
        self.settings = settings or MaskSettings()

    def generate(self, image: np.ndarray, *, budget: int | None = None) -> list[dict[str, Any]]:
        """Set an image, (H, W, 3) uint8 RGB, and find its masks.

        Args:
            budget: points to ask at most, those first that promise most; None asks the whole grid.

        Returns:
            One record a mask, highest predicted IoU first: `segmentation` (COCO RLE), `bbox` (x, y, width, height of the
            first to the last pixel, so 1 less than pycocotools' `toBbox`, as in SA-1B), `area`, `predicted_iou`,
            `point_coords` ([[x, y]]), `stability_score` and `crop_box`. Pixels of the photo.
        """
        self.predictor.set_image(image)
        shape = (int(image.shape[0]), int(image.shape[1]))
        found = explore(self.predictor, shape=shape, settings=self.settings, budget=budget)
        masks = select(found.candidates, settings=self.settings)
        points = point_grid(shape, per_side=self.settings.points_per_side)
        return [_record(mask, point=points[mask.point], shape=shape) for mask in masks]


def explore(
    predictor: PredictorLike, *, shape: Shape, settings: MaskSettings, budget: int | None = None
) -> Exploration:
    """Ask the points of a grid about the photo that the predictor has set, in an order of which every beginning is worth most.

    Args:
        shape: (height, width) of the photo.
        budget: points to ask at most; None or more than there are asks all.

    Raises:
        InputError: a budget without a point.
    """
    if budget is not None and budget < 1:
        raise InputError(f"a budget of {budget} points finds nothing; give 1 or more, or none for the whole grid")
    left = settings.points if budget is None else min(budget, settings.points)
    points = point_grid(shape, per_side=settings.points_per_side)
    order = PointOrder(settings.points_per_side)
    asked, candidates = [], []
    while left:
        chosen = order.take(min(left, POINTS_AT_A_TIME))
        found = ask_points(predictor, points, chosen=chosen, shape=shape, settings=settings)
        order.learn(found)
        asked.append(chosen)
        candidates += found
        left -= len(chosen)
    return Exploration(asked=np.concatenate(asked), candidates=tuple(candidates))


def select(candidates: Sequence[Candidate], *, settings: MaskSettings) -> list[Candidate]:
    """Candidates without duplicates, highest predicted IoU first, small regions cleaned where the settings ask for it."""
    candidates = sorted(candidates, key=lambda candidate: candidate.point)  # of equals, the grid's first is kept
    if not candidates:
        return []
    boxes = np.asarray([candidate.box for candidate in candidates], np.float32)
    scores = np.asarray([candidate.score for candidate in candidates], np.float32)
    kept = [candidates[index] for index in distinct_boxes(boxes, scores, iou=settings.box_nms_thresh)]
    return _clean(kept, settings=settings) if settings.min_mask_region_area > 0 else kept


def _clean(candidates: list[Candidate], *, settings: MaskSettings) -> list[Candidate]:
    """Small regions filled and removed, then duplicates among the results, unchanged ones preferred.

    Source: segment-anything, `postprocess_small_regions`.
    """
    cleaned, unchanged = [], []
    for candidate in candidates:
        mask, changed = without_small_regions(
            coco_mask.decode(candidate.rle).astype(bool), min_pixels=settings.min_mask_region_area
        )
        box = tuple(mask_boxes(mask[None])[0].tolist())
        cleaned.append(replace(candidate, rle=encode_mask(mask), box=box, area=int(mask.sum())))
        unchanged.append(not changed)
    boxes = np.asarray([candidate.box for candidate in cleaned], np.float32)
    kept = distinct_boxes(boxes, np.asarray(unchanged, np.float32), iou=max(settings.box_nms_thresh, CLEANED_NMS_IOU))
    return [cleaned[index] for index in kept]


def _record(candidate: Candidate, *, point: np.ndarray, shape: Shape) -> dict[str, Any]:
    left, top, right, bottom = candidate.box
    return {
        "segmentation": candidate.rle,
        "area": candidate.area,
        "bbox": [left, top, right - left, bottom - top],
        "predicted_iou": candidate.score,
        "point_coords": [point.tolist()],
        "stability_score": candidate.stability,
        "crop_box": [0.0, 0.0, float(shape[1]), float(shape[0])],
    }
