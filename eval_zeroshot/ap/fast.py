"""Average precision in numpy, number for number that of pycocotools and lvis, several times faster.

Only the overlaps of detections and objects come from pycocotools. Its loops over photos, categories, sizes, thresholds and
detections are array operations here, and a loop over categories is what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.detections import IouType
from eval_zeroshot.ap.matching import MATCHED, UNMATCHED, MatchGroup, match
from eval_zeroshot.ap.tables import (
    Table,
    best_first,
    best_of_each_image,
    category_notes,
    detections_of,
    objects_of,
    rank_in_group,
    sorted_ids,
)

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS_PIXELS = np.asarray([[0, 1e5**2], [0, 32**2], [32**2, 96**2], [96**2, 1e5**2]])  # all, small, medium, large
COCO_MAX_DETECTIONS = (1, 10, 100)  # of one category on one image
LVIS_MAX_DETECTIONS = 300  # of all categories on one image


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What became of N detections, which stand by category, image, then score, at T thresholds in A size ranges.

    Attributes:
        objects, found: the tables.
        scores: (N,) float64.
        hits, misses: (A, T, N) bool; a detection that is neither does not count.
        outside: (A, objects) bool, objects that do not count in a size range.
        categories: K, how many there are.
    """

    objects: Table
    found: Table
    scores: np.ndarray
    hits: np.ndarray
    misses: np.ndarray
    outside: np.ndarray
    categories: int


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Precision and recall of K categories at T thresholds in A size ranges, -1 where a category has no object.

    Attributes:
        precision: (T, R, K, A) float64 at R recalls, with the highest number of detections.
        recall: (T, K, A, M) float64 with up to `COCO_MAX_DETECTIONS`; M = 1 for LVIS.
    """

    precision: np.ndarray
    recall: np.ndarray


def coco_numbers(truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType) -> list[float]:
    """See `ap_reference.coco_numbers`."""
    curves = coco_curves(truth, results, iou_type=iou_type)
    precision, recall = curves.precision, curves.recall
    return [
        *_precisions(precision),
        *(_mean(recall[:, :, 0, most]) for most in range(len(COCO_MAX_DETECTIONS))),
        *(_mean(recall[:, :, size, -1]) for size in (1, 2, 3)),
    ]


def lvis_numbers(truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType) -> list[float]:
    """See `ap_reference.lvis_numbers`."""
    curves = lvis_curves(truth, results, iou_type=iou_type)
    precision, recall = curves.precision, curves.recall
    frequency = {category["id"]: category["frequency"] for category in truth.categories}
    frequencies = np.asarray([frequency[id_] for id_ in sorted(frequency)])
    return [
        *_precisions(precision),
        *(_mean(precision[:, :, frequencies == group, 0]) for group in ("r", "c", "f")),
        *(_mean(recall[:, :, size, 0]) for size in range(4)),
    ]


def coco_curves(truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType) -> Curves:
    """Precision and recall by COCO's rules."""
    return _curves(coco_outcomes(truth, results, iou_type=iou_type), max_detections=COCO_MAX_DETECTIONS)


def lvis_curves(truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType) -> Curves:
    """Precision and recall by LVIS's rules."""
    return _curves(lvis_outcomes(truth, results, iou_type=iou_type), max_detections=(LVIS_MAX_DETECTIONS,))


def coco_outcomes(truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType) -> Outcomes:
    """COCO's matching: 100 detections a category and image, crowds ignored."""
    images, categories = sorted_ids(truth)
    objects, annotations = objects_of(truth, images, categories, iou_type=iou_type)
    crowd = np.asarray([bool(a.get("iscrowd", 0)) for a in annotations], bool)
    found, scores = detections_of(results, images, categories, iou_type=iou_type)
    order = best_first(found, scores)
    order = order[rank_in_group(found.take(order)) < COCO_MAX_DETECTIONS[-1]]
    found, scores = found.take(order), scores[order]
    return _outcomes(
        objects,
        found,
        scores,
        categories=len(categories),
        crowd=crowd,
        ignored=crowd,
        forgiven=np.zeros(len(scores), bool),
    )


def lvis_outcomes(truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType) -> Outcomes:
    """LVIS's matching: 300 detections an image, and only categories that were looked for on it.

    A detection of a category of which an image has neither objects nor a note that it has none does not count; where not
    all objects of a category are marked, an unmatched one is forgiven. What has no area does not count.
    """
    images, categories = sorted_ids(truth)
    objects, annotations = objects_of(truth, images, categories, iou_type=iou_type)
    marked = np.flatnonzero((objects.area > 0) & (objects.area < np.inf))
    objects, annotations = objects.take(marked), [annotations[index] for index in marked]
    results = best_of_each_image(results, most=LVIS_MAX_DETECTIONS)
    found, scores = detections_of(results, images, categories, iou_type=iou_type)
    width = len(categories)
    looked_for = category_notes(truth, "neg_category_ids", images, categories)
    looked_for |= set((objects.image * width + objects.category).tolist())
    sketchy = category_notes(truth, "not_exhaustive_category_ids", images, categories)
    pair = found.image * width + found.category
    counted = np.isin(pair, list(looked_for)) & (found.area > 0) & (found.area < np.inf)
    order = best_first(found, scores)
    order = order[counted[order]]
    return _outcomes(
        objects,
        found.take(order),
        scores[order],
        categories=len(categories),
        crowd=np.zeros(len(annotations), bool),
        ignored=np.asarray([bool(a.get("ignore", 0)) for a in annotations], bool),
        forgiven=np.isin(pair[order], list(sketchy)),
    )


def _outcomes(
    objects: Table,
    found: Table,
    scores: np.ndarray,
    *,
    categories: int,
    crowd: np.ndarray,
    ignored: np.ndarray,
    forgiven: np.ndarray,
) -> Outcomes:
    """Match. Detections are ordered by category, image, then score, best first, and stay so where equal."""
    outside = _outside(objects.area) | ignored  # (A, objects)
    outcome = match(_groups(objects, found, crowd), count=len(scores), thresholds=THRESHOLDS, ignored=outside, crowd=crowd)
    hits = outcome == MATCHED  # (A, T, N)
    misses = (outcome == UNMATCHED) & ~(_outside(found.area) | forgiven)[:, None, :]
    return Outcomes(
        objects=objects, found=found, scores=scores, hits=hits, misses=misses, outside=outside, categories=categories
    )


def _curves(outcomes: Outcomes, *, max_detections: Sequence[int]) -> Curves:
    """Count."""
    objects, found, hits, misses = outcomes.objects, outcomes.found, outcomes.hits, outcomes.misses
    categories = outcomes.categories
    rank = rank_in_group(found)
    sizes = len(AREAS_PIXELS)
    precision = np.full((len(THRESHOLDS), len(RECALLS), categories, sizes), -1.0)
    recall = np.full((len(THRESHOLDS), categories, sizes, len(max_detections)), -1.0)
    totals = np.zeros((categories, sizes), np.int64)
    for size in range(sizes):
        totals[:, size] = np.bincount(objects.category[~outcomes.outside[size]], minlength=categories)
    bounds = np.searchsorted(found.category, np.arange(categories + 1))
    for category in np.flatnonzero(totals.any(axis=1)):
        mine = slice(bounds[category], bounds[category + 1])
        there = np.flatnonzero(totals[category])  # size ranges with an object
        total = totals[category, there]
        order = mine.start + np.argsort(-outcomes.scores[mine], kind="stable")
        hit = hits[there][:, :, order]
        precision[:, :, category, there] = precision_at_recalls(hit, misses[there][:, :, order], total)
        for place, most in enumerate(max_detections):
            counted = hit[:, :, rank[order] < most].sum(axis=-1)
            recall[:, category, there, place] = (counted / total[:, None]).T
    return Curves(precision=precision, recall=recall)


def precision_at_recalls(hits: np.ndarray, misses: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Hits and misses (A, T, D) in order of score, of `total` (A,) objects -> (T, R, A): the best precision from each on.

    Hits and misses are bool, or how often each counts.
    """
    sizes, thresholds, count = hits.shape
    if count == 0:
        return np.zeros((thresholds, len(RECALLS), sizes))
    right = np.cumsum(hits, axis=-1)
    wrong = np.cumsum(misses, axis=-1)
    precision = right / (wrong + right + np.spacing(1))
    best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    # Recall r is reached with the detection that makes the number of hits k, the least with k / total >= r. All rows are
    # searched at once: row after row, each on a step of its own that the numbers of the row before do not reach.
    needed = [np.searchsorted(np.arange(n + 1) / n, RECALLS, side="left") for n in total]
    step = int(right[..., -1].max()) + 2
    base = step * np.arange(sizes * thresholds).reshape(sizes, thresholds, 1)
    wanted = np.minimum(np.stack(needed), step - 1)[:, None, :] + base  # (A, T, R)
    place = np.searchsorted((right + base).ravel(), wanted.ravel(), side="left").reshape(wanted.shape)
    place -= count * np.arange(sizes * thresholds).reshape(sizes, thresholds, 1)
    reached = place < count
    values = np.take_along_axis(best, np.minimum(place, count - 1), axis=-1)
    return np.asarray(np.where(reached, values, 0.0).transpose(1, 2, 0))


def _groups(objects: Table, found: Table, crowd: np.ndarray) -> list[MatchGroup]:
    """Detections with objects of their image and category, and how they overlap."""
    images = 1 + max(objects.image.max(initial=0), found.image.max(initial=0))
    object_key, found_key = (table.category * images + table.image for table in (objects, found))
    order = np.argsort(object_key, kind="stable")
    keys = np.intersect1d(object_key, found_key)
    object_bounds = [np.searchsorted(object_key[order], keys, side=side) for side in ("left", "right")]
    found_bounds = [np.searchsorted(found_key, keys, side=side) for side in ("left", "right")]
    groups = []
    for first, last, start, stop in zip(*object_bounds, *found_bounds, strict=True):
        members = order[first:last]
        ious = coco_mask.iou(
            found.shapes[start:stop], [objects.shapes[index] for index in members], crowd[members].astype(np.uint8)
        )
        groups.append(MatchGroup(detections=np.arange(start, stop), objects=members, ious=np.asarray(ious)))
    return groups


def _outside(areas: np.ndarray) -> np.ndarray:
    """(N,) areas -> (A, N) bool: not in the size range, whose ends belong to it."""
    return np.asarray((areas < AREAS_PIXELS[:, :1]) | (areas > AREAS_PIXELS[:, 1:]))


def _precisions(precision: np.ndarray) -> list[float]:
    """AP, AP50, AP75, then small, medium, large, of (T, R, K, A)."""
    return [
        _mean(precision[..., 0]),
        _mean(precision[0, ..., 0]),
        _mean(precision[5, ..., 0]),
        *(_mean(precision[..., size]) for size in (1, 2, 3)),
    ]


def _mean(values: np.ndarray) -> float:
    """Mean over what there is to measure, -1 if there is nothing."""
    there = values[values > -1]
    return float(there.mean()) if there.size else -1.0
