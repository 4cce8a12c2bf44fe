"""What the benchmark counts on one photo at every level."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from encoders.errors import InputError
from eval_zeroshot.suites.edges.matching import BoundaryMatcher
from eval_zeroshot.suites.edges.prediction import EdgePrediction
from eval_zeroshot.suites.edges.thinning import thin

MAX_DISTANCE = 0.0075  # farthest match, in image diagonals


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Pixels at T levels, (T,) int64 each; recall is matched_truth / truth, precision matched_edge / edge.

    Attributes:
        levels: (T,) float64.
        matched_truth, truth: boundary pixels of the annotators, summed over them.
        matched_edge, edge: pixels of the machine's boundary; one that matches several annotators counts once.
    """

    levels: np.ndarray
    matched_truth: np.ndarray
    truth: np.ndarray
    matched_edge: np.ndarray
    edge: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        return self.matched_truth / np.maximum(1, self.truth)

    @property
    def precision(self) -> np.ndarray:
        return self.matched_edge / np.maximum(1, self.edge)

    @classmethod
    def total(cls, photos: Iterable["Counts"]) -> "Counts":
        """Sums over photos, level by level.

        Raises:
            InputError: no photo, or photos with different numbers of levels.
        """
        every = list(photos)
        sizes = {len(counts.levels) for counts in every}
        if len(sizes) != 1:
            raise InputError(f"photos have {sorted(sizes)} levels; expected at least one photo and the same for all")
        names = [field.name for field in fields(cls) if field.name != "levels"]
        sums = {name: np.sum([getattr(counts, name) for counts in every], axis=0) for name in names}
        return cls(levels=every[0].levels, **sums)


def count_matches(
    prediction: EdgePrediction, boundaries: Sequence[np.ndarray], *, max_distance: float = MAX_DISTANCE
) -> Counts:
    """Thin the prediction at every level and match it with every annotator's boundary.

    Source: BIDS/BSDS500, `bench/benchmarks/evaluation_bdry_image.m`.

    Args:
        boundaries: (H, W) bool of each annotator, at least one.
        max_distance: farthest match, in image diagonals.

    Raises:
        InputError: sizes differ, or no annotator.
    """
    shapes = {boundary.shape for boundary in boundaries}
    if shapes != {prediction.shape}:
        raise InputError(f"the prediction is {prediction.shape} (height, width), the annotators' maps are {sorted(shapes)}")
    radius = max_distance * float(np.hypot(*prediction.shape))
    matchers = [BoundaryMatcher(boundary, radius=radius) for boundary in boundaries]
    rows: list[tuple[int, int, int]] = []
    last = None
    for index in range(len(prediction.levels)):
        boundary = prediction.boundary(index)
        if last is None or not np.array_equal(boundary, last):  # levels between two strengths have the same pixels
            last = boundary
            row = _match_all(np.flatnonzero(thin(boundary)), matchers)
        rows.append(row)
    matched_truth, matched_edge, edge = np.asarray(rows, np.int64).T
    truth = np.full(len(rows), sum(matcher.count for matcher in matchers), np.int64)
    return Counts(
        levels=prediction.levels, matched_truth=matched_truth, truth=truth, matched_edge=matched_edge, edge=edge
    )


def _match_all(pixels: np.ndarray, matchers: Sequence[BoundaryMatcher]) -> tuple[int, int, int]:
    """Truth pixels matched over all annotators, machine pixels matched by any, machine pixels."""
    by_any = np.zeros(len(pixels), bool)
    total = 0
    for matcher in matchers:
        matched, count = matcher.match(pixels)
        by_any |= matched
        total += count
    return total, int(by_any.sum()), len(pixels)
