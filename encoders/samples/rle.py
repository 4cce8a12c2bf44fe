"""Conversion between masks and COCO's run-length encoding, with pycocotools.

pycocotools trusts its input: run lengths that stop short leave the rest of the mask unset memory, runs beyond the mask
are written beyond it, and long outlines exhaust memory. So all of it is checked here before pycocotools sees it.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from encoders.errors import InputError
from encoders.geometry import Shape

Rle = dict[str, Any]  # {"size": [H, W], "counts": str}, fit for json
MAX_CHARACTERS = 7  # of a number in compressed counts: 35 bits, more than any image has pixels
MAX_OUTLINE = 100  # length of an instance's polygons in sums of the photo's sides; pycocotools takes 100 bytes a pixel of it


def encode_mask(mask: np.ndarray) -> Rle:
    """(H, W) bool -> {"size": [H, W], "counts": str}, fit for json."""
    return _as_json(coco_mask.encode(np.asfortranarray(mask, np.uint8)))


def decode_segmentation(segmentation: Any, *, shape: Shape) -> np.ndarray:
    """COCO polygons, or RLE compressed or not -> (H, W) bool.

    Raises:
        InputError: the segmentation is malformed or belongs to an image of another size.
    """
    return coco_mask.decode(to_rle(segmentation, shape=shape)).astype(bool)


def to_rle(segmentation: Any, *, shape: Shape) -> Rle:
    """COCO polygons, or RLE compressed or not -> checked compressed RLE, without decoding the mask.

    Raises:
        InputError: the segmentation is malformed or belongs to an image of another size.
    """
    try:
        if isinstance(segmentation, list):
            return _from_polygons(segmentation, shape)
        size = tuple(_integers(segmentation["size"]).tolist())
        counts = segmentation["counts"]
        runs = _integers(counts) if isinstance(counts, list) else run_lengths(counts)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"malformed segmentation ({type(error).__name__}: {error})") from error
    if size != tuple(shape):
        raise InputError(f"segmentation is of an image of {size}, this image is {tuple(shape)} (height, width)")
    pixels = size[0] * size[1]
    if ((runs < 0) | (runs > pixels)).any():  # first, so that the sum cannot overflow
        raise InputError(f"malformed segmentation: runs of {runs.min()} to {runs.max()} pixels, the mask has {pixels}")
    if runs.sum() != pixels:
        raise InputError(f"malformed segmentation: its runs cover {runs.sum()} of {pixels} pixels")
    if isinstance(counts, list):
        return _as_json(coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size))
    return _as_json({"size": size, "counts": counts})


def rle_iou(first: Rle, second: Rle) -> float:
    """IoU of two masks of one image that `encode_mask` or `to_rle` gave, from their runs alone; of two empty ones 1.0."""
    if first["counts"] == second["counts"]:
        return 1.0
    return float(coco_mask.iou([first], [second], [0])[0, 0])


def run_lengths(counts: str | bytes) -> np.ndarray:
    """Compressed COCO counts -> (R,) int64 run lengths, background first.

    A number is 5 bits a character, low bits first, bit 5 set where it goes on, bit 4 of its last character the sign;
    from the fourth number on it is the difference to the number two places before.
    Source: pycocotools, `maskApi.c` (`rleFrString`).
    """
    codes = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - 48
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("the counts string is empty, cut off or has characters outside COCO's alphabet")
    last = (codes & 32) == 0
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    place = np.arange(codes.size) - np.repeat(starts, np.diff(np.append(starts, codes.size)))
    if place.max() >= MAX_CHARACTERS:
        raise ValueError("the counts string has a number of more than 35 bits")
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[last] & 16, 1 << (5 * (place[last] + 1)), 0)
    for first in (1, 2):  # numbers 1, 3, 5 ... and 2, 4, 6 ... are two chains of differences; number 0 stands alone
        values[first::2] = np.cumsum(values[first::2])
    return values


def to_rles(segmentations: Sequence[Any], *, shape: Shape) -> list[Rle] | None:
    """Check many masks of one image at once, in a fraction of the time that `to_rle` takes for each.

    Returns:
        What `to_rle` returns for each; None unless all are sound compressed RLE, and then `to_rle` says what is wrong.
    """
    size = list(shape)
    for segmentation in segmentations:
        if not isinstance(segmentation, dict) or not isinstance(segmentation.get("counts"), str):
            return None
        stated = segmentation.get("size")
        if type(stated) is not list or stated != size or any(type(side) is not int for side in stated):
            return None
    counts = [segmentation["counts"] for segmentation in segmentations]
    if counts and not _are_whole(counts, pixels=shape[0] * shape[1]):
        return None
    return [{"size": size.copy(), "counts": text} for text in counts]


def _are_whole(counts: list[str], *, pixels: int) -> bool:
    """Return whether the runs of each of these compressed counts are sound and cover `pixels`; see `run_lengths`."""
    text = "".join(counts)
    if not text.isascii() or not all(counts):
        return False
    codes = np.frombuffer(text.encode("ascii"), np.uint8) - np.uint8(48)  # wraps around to more than 63
    ends = np.asarray(list(accumulate(map(len, counts))))
    stops = np.flatnonzero(codes & 32 == 0)  # the last character of each number
    after = np.searchsorted(stops, ends)  # numbers of this mask and those before it
    if codes.max() > 63 or (codes[ends - 1] & 32).any():
        return False
    starts = np.concatenate([[0], stops[:-1] + 1])
    characters = stops - starts + 1
    if characters.max() > MAX_CHARACTERS:
        return False
    values = (codes[starts] & 31).astype(np.int64)
    for place in range(1, int(characters.max())):
        longer = np.flatnonzero(characters > place)
        values[longer] |= (codes[starts[longer] + place] & 31).astype(np.int64) << (5 * place)
    values -= ((codes[stops] & 16) != 0).astype(np.int64) << (5 * characters)
    first = [0, *after[:-1].tolist()]
    for begin, end in zip(first, after.tolist(), strict=True):  # two chains of differences, see `run_lengths`
        for chain in (values[begin + 1 : end : 2], values[begin + 2 : end : 2]):
            chain.cumsum(out=chain)
    if values.min() < 0 or values.max() > pixels:  # first, so that the sums cannot overflow
        return False
    return bool((np.add.reduceat(values, first) == pixels).all())


def _from_polygons(polygons: list[Any], shape: Shape) -> Rle:
    """Checked polygons, merged to one mask."""
    if not polygons:
        raise ValueError("no polygon")
    arrays = [np.asarray(polygon, np.float64) for polygon in polygons]
    for array in arrays:
        if array.ndim != 1 or array.size < 6 or array.size % 2:
            raise ValueError(f"a polygon needs at least 3 points as x, y, x, y, ...; got {array.size} numbers")
        if not np.isfinite(array).all() or np.abs(array).max() > 4 * max(shape):
            raise ValueError("a polygon has a point that is no number or lies far outside its image")
    outline = sum(_outline(array) for array in arrays)
    if outline > MAX_OUTLINE * sum(shape):
        raise ValueError(f"its polygons are {outline:.0f} pixels long, at most {MAX_OUTLINE * sum(shape)} are drawn")
    merged = coco_mask.merge(coco_mask.frPyObjects([array.tolist() for array in arrays], *shape))
    return _as_json(merged)


def _outline(polygon: np.ndarray) -> float:
    """Length of a closed polygon in steps of a pixel along its faster axis, which is what pycocotools draws."""
    corners = polygon.reshape(-1, 2)
    return float(np.abs(np.roll(corners, -1, axis=0) - corners).max(axis=1).sum())


def _integers(values: Any) -> np.ndarray:
    """A list of whole numbers as int64; numpy would cut fractions off, and give every text the room of the longest."""
    if not isinstance(values, list | tuple) or not values or any(type(value) is not int for value in values):
        raise ValueError("size and uncompressed counts must be lists of whole numbers")
    return np.array(values, np.int64)


def _as_json(rle: dict[str, Any]) -> Rle:
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in rle["size"]], "counts": text}
