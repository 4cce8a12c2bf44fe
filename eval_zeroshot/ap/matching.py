"""Greedy matching of detections to objects, as COCO and LVIS define it, for many photos, thresholds and sizes at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

UNMATCHED, MATCHED, MATCHED_IGNORED = 0, 1, 2
CELLS_AT_A_TIME = 2**23  # bounds memory: groups x sizes x thresholds x objects of one round


@dataclass(frozen=True, kw_only=True)
class MatchGroup:
    """The detections and objects of one photo and category.

    Attributes:
        detections: (D,) int64 places in the table of detections, best score first.
        objects: (G,) int64 places in the table of objects, in the annotations' order.
        ious: (D, G) float64.
    """

    detections: np.ndarray
    objects: np.ndarray
    ious: np.ndarray


def match(
    groups: Sequence[MatchGroup],
    *,
    count: int,
    thresholds: np.ndarray,
    ignored: np.ndarray,
    crowd: np.ndarray,
    taken: np.ndarray | None = None,
) -> np.ndarray:
    """What became of each detection.

    Each detection in turn, best first, takes the free object that it overlaps most, at least by the threshold, of equals
    the last; one that is ignored only where no other will do. A crowd is never used up.
    Source: pycocotools, `COCOeval.evaluateImg`; lvis, `LVISEval.evaluate_img` (equal but for crowds, which it has not).

    Args:
        groups: of disjoint detections and objects.
        count: N, detections in the table.
        thresholds: (T,) float64.
        ignored: (A, M) bool, objects that do not count in each of A size ranges.
        crowd: (M,) bool.
        taken: (A, T, M) bool, set to True where an object is matched.

    Returns:
        (A, T, N) int8: `UNMATCHED`, `MATCHED`, or `MATCHED_IGNORED` where the object does not count.
    """
    outcome = np.zeros((len(ignored), len(thresholds), count), np.int8)
    lowest = thresholds.min()
    hopeful = []
    for group in groups:
        some = group.ious.max(axis=1, initial=0.0) >= lowest  # the others can never be matched
        if some.any():
            hopeful.append(MatchGroup(detections=group.detections[some], objects=group.objects, ious=group.ious[some]))
    for block in _blocks(hopeful, cells=CELLS_AT_A_TIME // (len(ignored) * len(thresholds))):
        _match_block(block, outcome=outcome, thresholds=thresholds, ignored=ignored, crowd=crowd, taken=taken)
    return outcome


def _blocks(groups: Sequence[MatchGroup], *, cells: int) -> Iterator[list[MatchGroup]]:
    """Groups of like numbers of objects together, so that little is padded."""
    by_width: dict[int, list[MatchGroup]] = {}
    for group in groups:
        by_width.setdefault((len(group.objects) - 1).bit_length(), []).append(group)
    for width, members in by_width.items():
        step = max(1, cells >> width)
        for start in range(0, len(members), step):
            yield members[start : start + step]


def _match_block(
    groups: list[MatchGroup],
    *,
    outcome: np.ndarray,
    thresholds: np.ndarray,
    ignored: np.ndarray,
    crowd: np.ndarray,
    taken: np.ndarray | None,
) -> None:
    """Fill `outcome` for B groups of up to G objects, their r-th detections at once, for r = 0, 1, ..."""
    groups = sorted(groups, key=lambda group: -len(group.detections))
    lengths = np.asarray([len(group.detections) for group in groups])
    wide = max(len(group.objects) for group in groups)
    places = np.zeros((lengths[0], len(groups)), np.int64)
    ious = np.full((lengths[0], len(groups), wide), -1.0)
    objects = np.zeros((len(groups), wide), np.int64)
    for number, group in enumerate(groups):
        deep, broad = group.ious.shape
        places[:deep, number] = group.detections
        ious[:deep, number, :broad] = group.ious
        objects[number, :broad] = group.objects
    # Padding never overlaps (-1), so what `counts` and `again` say of it does not matter.
    counts = ~ignored[:, objects].transpose(1, 0, 2)  # (B, A, G)
    again = crowd[objects]  # (B, G)
    # The order of preference: by overlap, of equals the last, and all that count before all that do not.
    order = np.argsort(np.argsort(ious, axis=-1, kind="stable"), axis=-1).astype(np.int32) + 1
    limits = np.minimum(thresholds, 1 - 1e-10)[:, None]
    free = np.ones((len(groups), len(ignored), len(thresholds), wide), bool)
    for turn in range(lengths[0]):
        active = int(np.searchsorted(-lengths, -turn, side="left"))  # groups with more than `turn` detections
        allowed = free[:active] & (ious[turn, :active, None, :] >= limits)[:, None]
        preference = order[turn, :active, None, :] + wide * counts[:active]  # (active, A, G)
        rank = np.where(allowed, preference[:, :, None, :], 0)
        chosen = rank.argmax(axis=-1)  # (active, A, T)
        row, size, threshold = np.nonzero(allowed.any(axis=-1))
        place = chosen[row, size, threshold]
        regular = counts[row, size, place]
        outcome[size, threshold, places[turn, row]] = np.where(regular, MATCHED, MATCHED_IGNORED)
        free[row, size, threshold, place] = again[row, place]
        if taken is not None:
            taken[size, threshold, objects[row, place]] = True
