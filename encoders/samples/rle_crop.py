"""Cropping and mirroring of run-length encoded masks from their runs alone, without decoding them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from encoders.samples.rle import Rle, run_lengths


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rectangle of a photo, whose content is mirrored left to right afterwards if `mirror`; in pixels of the photo."""

    top: int
    left: int
    height: int
    width: int
    mirror: bool = False

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(H, W, ...) -> (height, width, ...)."""
        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        return np.ascontiguousarray(part[:, ::-1] if self.mirror else part)


@dataclass(frozen=True, kw_only=True)
class VisibleMask:
    """What a window shows of a mask.

    Attributes:
        rle: of the window's size.
        area, whole_area: pixels in the window, and of the whole mask.
        box: x, y, width, height of the visible pixels, in pixels of the window, as pycocotools' `toBbox`.
    """

    rle: Rle
    area: int
    whole_area: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Segments:
    """Vertical strips of masks: pixels [start, stop) of one column, both in rows. In order of mask, column and row."""

    mask: np.ndarray
    column: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def __getitem__(self, which: np.ndarray) -> "_Segments":
        return _Segments(self.mask[which], self.column[which], self.start[which], self.stop[which])


def crop_rles(rles: Sequence[Rle], window: Window) -> list[VisibleMask | None]:
    """Crop masks of one photo, all at once.

    Args:
        rles: checked, as `to_rle` gives them, of a photo in which the window lies.

    Returns:
        For each mask what the window shows of it; None if that is nothing.
    """
    found: list[VisibleMask | None] = [None] * len(rles)
    if not rles:
        return found
    mask, start, stop = _foreground(rles)
    whole = np.bincount(mask, stop - start, minlength=len(rles)).astype(np.int64)
    segments = _visible(mask, start, stop, window, height=rles[0]["size"][0])
    if not len(segments.mask):
        return found
    first = np.flatnonzero(np.diff(segments.mask, prepend=-1))
    numbers = segments.mask[first]
    area = np.add.reduceat(segments.stop - segments.start, first)
    lows = [np.minimum.reduceat(values, first) for values in (segments.column, segments.start)]
    highs = [np.maximum.reduceat(values, first) for values in (segments.column + 1, segments.stop)]
    boxes = np.stack([*lows, highs[0] - lows[0], highs[1] - lows[1]], axis=1)
    runs = _runs(segments, window)
    for number, counts, visible, box in zip(numbers.tolist(), runs, area.tolist(), boxes.tolist(), strict=True):
        size = [window.height, window.width]
        text = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)["counts"].decode("ascii")
        rle = {"size": size, "counts": text}
        found[number] = VisibleMask(rle=rle, area=visible, whole_area=int(whole[number]), box=tuple(box))
    return found


def _foreground(rles: Sequence[Rle]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mask number, first pixel and end of every foreground run, in pixels counted down the columns."""
    ends = [np.cumsum(run_lengths(rle["counts"])) for rle in rles]
    stops = [end[1::2] for end in ends]
    starts = [end[::2][: len(stop)] for end, stop in zip(ends, stops, strict=True)]
    mask = np.repeat(np.arange(len(rles)), [len(stop) for stop in stops])
    return mask, np.concatenate(starts), np.concatenate(stops)


def _visible(mask: np.ndarray, start: np.ndarray, stop: np.ndarray, window: Window, *, height: int) -> _Segments:
    """Cut foreground runs of a photo of this height into the window's columns and rows, mirrored if it is."""
    start = np.maximum(start, window.left * height)
    stop = np.minimum(stop, (window.left + window.width) * height)
    inside = stop > start
    mask, start, stop = mask[inside], start[inside], stop[inside]
    first = start // height
    columns = (stop - 1) // height - first + 1  # that each run goes through
    column = np.repeat(first - (np.cumsum(columns) - columns), columns) + np.arange(columns.sum())
    top = column * height + window.top
    begin = np.maximum(np.repeat(start, columns) - top, 0)
    end = np.minimum(np.repeat(stop, columns) - top, window.height)
    column = window.left + window.width - 1 - column if window.mirror else column - window.left
    segments = _Segments(np.repeat(mask, columns), column, begin, end)[end > begin]
    if not window.mirror:
        return segments
    place = (segments.mask * window.width + segments.column) * window.height + segments.start
    return segments[np.argsort(place, kind="stable")]


def _runs(segments: _Segments, window: Window) -> list[list[int]]:
    """Return COCO's run lengths of each mask that has segments, background first."""
    pixels = window.height * window.width
    base = (segments.mask * window.width + segments.column) * window.height  # as if the masks stood side by side
    start, stop = base + segments.start, base + segments.stop
    new = np.ones(len(start), bool)
    new[1:] = (start[1:] != stop[:-1]) | (np.diff(segments.mask) != 0)
    begins = np.flatnonzero(new)
    mask, start = segments.mask[begins], start[begins]
    stop = stop[np.append(begins[1:], len(stop)) - 1]
    first = np.diff(mask, prepend=-1) != 0
    before = np.where(first, mask * pixels, np.concatenate([[0], stop[:-1]]))
    pairs = np.stack([start - before, stop - start], axis=1)
    last = np.append(np.flatnonzero(first)[1:], len(mask))
    runs = []
    for begin, end in zip(np.flatnonzero(first).tolist(), last.tolist(), strict=True):
        counts = pairs[begin:end].ravel().tolist()
        rest = int((mask[begin] + 1) * pixels - stop[end - 1])
        runs.append([*counts, rest] if rest else counts)
    return runs
