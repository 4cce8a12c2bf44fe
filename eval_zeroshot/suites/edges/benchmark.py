"""The BSDS500 boundary benchmark over a folder of edge maps, without MATLAB; photos are spread over processes."""

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from encoders.errors import InputError, InputWarning
from eval_zeroshot.datasets.bsds import read_annotators, truth_files
from eval_zeroshot.suites.edges.counts import MAX_DISTANCE, Counts, count_matches
from eval_zeroshot.suites.edges.prediction import SUFFIXES, THRESHOLDS, read_prediction
from eval_zeroshot.suites.edges.scores import EdgeScores, best_f, edge_scores

VERSION = "1"
BENCHMARK = (  # the second half of every edge protocol
    "BSDS500's boundary benchmark: at each level k / (T + 1), T = {thresholds}, the map is thinned and matched one to "
    f"one with each annotator's boundary at a least sum of distances, none beyond {MAX_DISTANCE} of the image diagonal; "
    "recall sums over annotators, precision counts a pixel that matches any of them; ODS interpolated between levels"
)


@dataclass(frozen=True, kw_only=True)
class EdgeReport:
    """The benchmark's numbers, and the counts of each photo by name, of a split with `split_photos` photos."""

    scores: EdgeScores
    photos: dict[str, Counts]
    split_photos: int

    @property
    def protocol(self) -> str:
        """What was measured, in words."""
        levels = next(iter(self.photos.values())).levels
        if levels[-1] < 1:
            return BENCHMARK.format(thresholds=len(levels))
        own = f"at each of the {len(levels)} segmentations given, its boundary"
        return BENCHMARK.replace("at each level k / (T + 1), T = {thresholds}, the map", own).replace(" between levels", "")

    def json(self) -> dict[str, Any]:
        """ODS, OIS, AP, R50 and each photo's best F (interpolated) with its level; fractions."""
        best = {name: best_f(counts) for name, counts in self.photos.items()}
        return {
            "ODS": self.scores.ods.f,
            "OIS": self.scores.ois,
            "AP": self.scores.ap,
            "R50": self.scores.r50,
            "ODS_threshold": self.scores.ods.level,
            "n": len(self.photos),
            "split_photos": self.split_photos,
            "version": VERSION,
            "protocol": self.protocol,
            "images": {name: {"best_f": one.f, "best_threshold": one.level} for name, one in best.items()},
        }


def score_predictions(
    predictions: Path | str,
    *,
    data: Path | str,
    split: str = "test",
    thresholds: int = THRESHOLDS,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> EdgeReport:
    """Score the edge maps of a folder that belong to photos of a split; see `read_prediction` for what they may be.

    Args:
        predictions: folder of NAME.png or NAME.mat.
        data: BSDS500, see `eval_zeroshot.datasets.bsds`.
        thresholds: levels k / (thresholds + 1); ready segmentations bring their own.
        processes: photos worked on at a time; memory grows with them, not with the number of photos.
        progress: called with photos done and in all, after each photo.

    Raises:
        InputError: no edge map of a photo of the split, two of one photo, or one that cannot be used.

    Warns:
        InputWarning: edge maps are of no photo of the split, or have no edge at all.
    """
    if thresholds < 1:
        raise InputError(f"{thresholds} thresholds; expected at least 1")
    truths = truth_files(data, split=split)
    found = _prediction_files(Path(predictions), truths)
    work = partial(_count_photo, thresholds=thresholds)
    pairs = [(path, truths[name]) for name, path in found.items()]
    counts = []
    for one in _in_processes(work, pairs, processes=processes):
        counts.append(one)
        if progress is not None:
            progress(len(counts), len(pairs))
    if not any(one.edge.any() for one in counts):
        warnings.warn(
            f"{predictions}: no map has an edge at any level, so all numbers are 0; expected 8 bits, 255 the strongest edge",
            InputWarning,
            stacklevel=2,
        )
    photos = dict(zip(found, counts, strict=True))
    return EdgeReport(scores=edge_scores(counts), photos=photos, split_photos=len(truths))


def _prediction_files(folder: Path, truths: dict[str, Path]) -> dict[str, Path]:
    """Name -> edge map, of the photos that have one, in order of name."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; expected edge maps NAME.png or NAME.mat, e.g. {next(iter(truths))}.png")
    found: dict[str, Path] = {}
    strays = []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        if path.stem in found:
            raise InputError(f"{folder} has both {found[path.stem].name} and {path.name}; keep one of them")
        if path.stem in truths:
            found[path.stem] = path
        else:
            strays.append(path.name)
    if not found:
        names = ", ".join(list(truths)[:3])
        raise InputError(f"{folder} has no edge map of a photo of this split; expected NAME.png or NAME.mat of {names}, ...")
    if strays:
        count = f"{len(strays)} of {len(strays) + len(found)} files are"
        warnings.warn(f"{folder}: {count} of no photo of this split, {strays[0]} first", InputWarning, stacklevel=3)
    return dict(sorted(found.items()))


def _count_photo(pair: tuple[Path, Path], *, thresholds: int) -> Counts:
    prediction, truth = pair
    boundaries = [annotator["Boundaries"] > 0 for annotator in read_annotators(truth)]
    try:
        return count_matches(read_prediction(prediction, thresholds=thresholds), boundaries)
    except InputError as error:
        raise InputError(str(error) if str(prediction) in str(error) else f"{prediction}: {error}") from error


def _in_processes(
    work: Callable[[tuple[Path, Path]], Counts], pairs: list[tuple[Path, Path]], *, processes: int
) -> Iterator[Counts]:
    """`map`, over processes where there is more than one to use.

    Forked on Linux: a spawned process would first import torch, which takes longer than a photo, and the work is numpy's
    and scipy's alone, which start no threads here.
    """
    if min(processes, len(pairs)) <= 1:
        yield from map(work, pairs)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(min(processes, len(pairs)), mp_context=context) as pool:
        try:
            yield from pool.map(work, pairs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # a bad file ends the run, not the rest of the photos
            raise
