"""Hostile annotations, of a photo of 50 x 120 pixels."""

import json
from typing import Any

from tests.shards.helpers.photos import sa1b_json
from tests.shards.hostile.case import Case, json_in_tar

MOST = 2**63 - 1
PIXELS = 50 * 120


def with_mask(segmentation: Any) -> bytes:
    return with_instance({"id": 1, "segmentation": segmentation})


def with_instance(instance: Any, *, times: int = 1) -> bytes:
    return json.dumps({"image": {"image_id": 2}, "annotations": [instance] * times}).encode()


def with_counts(counts: Any, size: Any = (50, 120)) -> bytes:
    return with_mask({"size": list(size), "counts": counts})


def bad(name: str, says: str, data: object) -> Case:
    return Case(name=name, outcome="quarantined", says=says, build=json_in_tar(data))  # type: ignore[arg-type]


CORNER = [0, 0, 30, 0, 30, 20]
WHOLE = with_counts([PIXELS - 10, 10])
CASES = [
    bad("a json cut off in its middle", "json cannot be read", sa1b_json(2)[:200]),
    bad("an empty json", "json cannot be read", b""),
    bad("a json nested 100,000 deep", "json cannot be read (RecursionError", b"[" * 100_000),
    bad("a json of 17 MiB", "at most 16777216 are read", lambda: b'{"annotations": []' + b" " * (17 << 20) + b"}"),
    bad("a json with a number of 100,000 digits", "json cannot be read", b'{"annotations": [' + b"9" * 100_000 + b"]}"),
    bad("a json that is no UTF-8", "json cannot be read (UnicodeDecodeError", b'{"annotations": "\xff"}'),
    bad("a json that is a list", "no list of 'annotations'", b"[]"),
    bad("annotations that are an object", "no list of 'annotations'", b'{"annotations": {}}'),
    bad("an annotation that is a text", "an annotation is a JSON string", with_instance("x")),
    bad("20,000 annotations of one photo", "20000 annotations; at most 10000", lambda: with_instance({}, times=20_000)),
    bad("an annotation without a mask, as a caption is", "has no segmentation", with_instance({"id": 1, "caption": "a cat"})),
    bad("an RLE mask of another size", "is of an image of (50, 121)", with_counts([50 * 121], (50, 121))),
    bad("an RLE mask of the transposed size", "is of an image of (120, 50)", with_counts([PIXELS], (120, 50))),
    bad("an RLE mask whose size has 200 digits", "malformed segmentation", with_counts([PIXELS], (10**200, 120))),
    bad("RLE runs beyond the mask", "the mask has 6000", with_counts([PIXELS, 10**6])),
    bad("RLE runs that stop short of the mask", "its runs cover 5000 of 6000", with_counts([5000])),
    bad(
        "RLE runs whose sum is right but for an overflow of 64 bits", "the mask has 6000", with_counts([MOST, MOST, 2 + PIXELS])
    ),
    bad("RLE runs whose sum is right but for an overflow of 32 bits", "the mask has 6000", with_counts([2**32, PIXELS])),
    bad("a negative RLE run", "the mask has 6000", with_counts([-10, PIXELS + 10])),
    bad("RLE runs that are no whole numbers", "lists of whole numbers", with_counts([5999.5, 0.5])),
    bad(
        "RLE runs that are texts, one of them 10 MB long",
        "lists of whole numbers",
        lambda: with_counts(["1"] * 999 + ["2" * 10**7]),
    ),
    bad("a compressed RLE beyond the mask", "the mask has 6000", with_counts("oooooo0")),
    bad("a compressed RLE cut off within a number", "cut off", with_counts("PS5o")),
    bad("a compressed RLE with characters outside its alphabet", "outside COCO's alphabet", with_counts("\x00~~")),
    bad("a compressed RLE with a number of 100 characters", "more than 35 bits", with_counts("o" * 100 + "0")),
    bad("an empty RLE", "empty", with_counts("")),
    bad("a polygon with a corner that is NaN", "is no number", with_mask([[*CORNER, float("nan"), 3]])),
    bad("a polygon with an odd number of coordinates", "at least 3 points", with_mask([[*CORNER, 4]])),
    bad("a polygon of two points", "at least 3 points", with_mask([[0, 0, 5, 5]])),
    bad("a polygon a million pixels outside", "lies far outside", with_mask([[*CORNER, 1e6, 0]])),
    bad(
        "a polygon that crosses the photo 100,000 times", "pixels long, at most", lambda: with_mask([[0, 0, 119, 49] * 50_000])
    ),
    bad("a mask without any polygon", "no polygon", with_mask([])),
    bad(
        "a box with NaN", "finite numbers", with_instance({"id": 1, "bbox": [1, 2, float("nan"), 4], "segmentation": [CORNER]})
    ),
    bad("an area that is a text", "could not convert", with_instance({"id": 1, "area": "big", "segmentation": [CORNER]})),
    bad("an id of 30 digits", "no whole number of 64 bits", with_instance({"id": 10**30, "segmentation": [CORNER]})),
    bad(
        "a predicted IoU that is infinite",
        "finite numbers",
        with_instance({"id": 1, "segmentation": [CORNER], "predicted_iou": float("inf")}),
    ),
    bad(
        "a licence that is a nested list",
        "its license is a JSON list",
        json.dumps({"image": {"license": [[1]]}, "annotations": []}).encode(),
    ),
    Case(name="an annotation without box and area", outcome="kept", says="both follow from the mask", build=json_in_tar(WHOLE)),
]
