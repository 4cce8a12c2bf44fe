"""How much of a photo's objects is among proposals: average recall, object by object, number for number pycocotools'."""

from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from encoders.samples.rle import Rle
from eval_zeroshot.ap.fast import AREAS_PIXELS, THRESHOLDS
from eval_zeroshot.ap.matching import MatchGroup, match
from eval_zeroshot.metrics.masks import SIZES

ALL = "all"


def overlaps(proposals: Sequence[Rle], truths: Sequence[Rle], *, crowd: np.ndarray) -> np.ndarray:
    """(D, G) float64 IoU of D proposals and G objects; of a crowd, the share of the proposal that lies in it."""
    if not proposals or not truths:
        return np.zeros((len(proposals), len(truths)))
    return np.asarray(coco_mask.iou(list(proposals), list(truths), crowd.astype(np.uint8)))


def matched_shares(ious: np.ndarray, *, groups: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Of each object, the share of the ten thresholds .5, .55, ... .95 at which a proposal is matched to it alone.

    The mean over the objects of a group is the average recall that pycocotools gives where only these objects count
    (useCats=0, areaRng, maxDets = D). Each group is matched on its own: objects outside it take only what it leaves.

    Args:
        ious: (D, G) of proposals, best first, and objects, see `overlaps`.
        groups: (A, G) bool, the objects that count in each of A groups.
        crowd: (G,) bool; a crowd counts nowhere and is never used up.

    Returns:
        (A, G) float64, 0 for objects outside the group.
    """
    count, objects = ious.shape
    counted = groups & ~crowd
    if not count:
        return np.zeros(groups.shape)
    taken = np.zeros((len(groups), len(THRESHOLDS), objects), bool)
    everyone = MatchGroup(detections=np.arange(count), objects=np.arange(objects), ious=ious)
    match([everyone], count=count, thresholds=THRESHOLDS, ignored=~counted, crowd=crowd, taken=taken)
    return np.asarray(taken.mean(axis=1) * counted)


def size_groups(areas: np.ndarray) -> dict[str, np.ndarray]:
    """(G,) areas in pixels -> name -> (G,) bool: all, and COCO's sizes, whose ends belong to both neighbours."""
    ranges = zip((ALL, *SIZES), AREAS_PIXELS, strict=True)
    return {name: (areas >= low) & (areas <= high) for name, (low, high) in ranges}


def frequency_groups(frequencies: Sequence[str]) -> Mapping[str, np.ndarray]:
    """(G,) LVIS's r, c or f of each object's category -> name -> (G,) bool."""
    letters = np.asarray(frequencies, str)
    return {name: letters == name[0] for name in ("rare", "common", "frequent")}
