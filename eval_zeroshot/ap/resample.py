"""AP of resampled photos: matched once, counted again for each draw."""

from typing import Any

import numpy as np

from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.detections import IouType
from eval_zeroshot.ap.fast import THRESHOLDS, coco_outcomes, lvis_outcomes, precision_at_recalls
from eval_zeroshot.ap.tables import sorted_ids

NUMBERS_AT_A_TIME = 2**22  # bounds memory: draws x thresholds x detections of a category
COMMON = {"AP50": 0, "AP75": 5}  # places among the thresholds


def resampled_ap(
    truth: Annotations, results: list[dict[str, Any]], *, iou_type: IouType, image_ids: list[int], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """AP, AP50 and AP75 over objects of all sizes, for B draws of P photos. A photo drawn twice counts twice, as two photos
    would.

    Args:
        truth, results, iou_type: see `ap.average_precision`.
        image_ids: of the P photos, in the order of the weights.
        weights: (B, P), how often a draw has a photo.

    Returns:
        Name -> (B,) float64, NaN where a draw has no object.
    """
    outcomes = (coco_outcomes if truth.kind == "coco" else lvis_outcomes)(truth, results, iou_type=iou_type)
    places = sorted_ids(truth)[0]
    drawn = np.zeros((len(weights), len(places)), np.int64)
    drawn[:, [places[id_] for id_ in image_ids]] = weights
    counted = ~outcomes.outside[0]
    category, image = outcomes.objects.category[counted], outcomes.objects.image[counted]
    bounds = np.searchsorted(outcomes.found.category, np.arange(outcomes.categories + 1))
    sums = np.zeros((len(THRESHOLDS), len(weights)))
    categories = np.zeros(len(weights))
    for number in np.unique(category):
        total = drawn[:, image[category == number]].sum(axis=1)
        there = np.flatnonzero(total)  # draws with an object of the category
        mine = slice(bounds[number], bounds[number + 1])
        order = mine.start + np.argsort(-outcomes.scores[mine], kind="stable")
        hit, miss = outcomes.hits[0][:, order], outcomes.misses[0][:, order]
        step = max(1, NUMBERS_AT_A_TIME // max(1, hit.size))
        for start in range(0, len(there), step):
            chosen = there[start : start + step]
            often = drawn[chosen][:, None, outcomes.found.image[order]]
            sums[:, chosen] += precision_at_recalls(often * hit, often * miss, total[chosen]).mean(axis=1)
        categories[there] += 1
    with np.errstate(invalid="ignore"):
        by_threshold = sums / categories
    return {"value": by_threshold.mean(axis=0), **{name: by_threshold[place] for name, place in COMMON.items()}}
