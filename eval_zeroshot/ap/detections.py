"""Results in COCO's format, made by a detector, by our instance suite or elsewhere: read, recognised, checked."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from encoders.errors import InputError, InputWarning
from encoders.files import sha256_file
from encoders.messages.words import counted
from encoders.samples.annotation_json import read_annotation_json
from encoders.samples.rle import to_rle
from encoders.untrusted import json_kind
from eval_zeroshot.ap.annotations import Annotations, is_finite, is_whole

IouType = Literal["segm", "bbox"]
MAX_SHOWN = 60  # characters of a value in an error
FORMAT = 'a list of {"image_id", "category_id", "score", "bbox": [x, y, width, height] or "segmentation": RLE}'


@dataclass(frozen=True, kw_only=True)
class Detections:
    """A result file.

    Attributes:
        name: of the file.
        sha256: of its bytes.
        records: one for each detection, in the file's order, with finite score and, where there is one, finite box.
    """

    name: str
    sha256: str
    records: list[dict[str, Any]]


def read_detections(path: Path | str, *, may_be_empty: bool = False) -> Detections:
    """Read a result file in COCO's format.

    Args:
        may_be_empty: whether a detector may have found nothing at all.

    Raises:
        InputError: the file is missing or no JSON, or a record lacks a field; says which record, from 0.

    Warns:
        InputWarning: detections are exact repeats of others.
    """
    path = Path(path)
    records = read_annotation_json(path, expected=f"results in COCO's format: {FORMAT}")
    if not isinstance(records, list):
        raise InputError(f"{path} is {json_kind(records)}; expected {FORMAT}")
    if not records and not may_be_empty:
        raise InputError(f"{path} has no detection; expected {FORMAT}")
    for number, record in enumerate(records):
        if problem := _problem(record):
            raise InputError(f"{path}, result {number}: {problem}; expected {FORMAT}")
    if repeated := _repeated(records):
        warnings.warn(
            f"{path}: {repeated} of {counted(len(records), 'detection')} repeat another one exactly; they count, as in "
            "pycocotools, and where an object is found once the others are false",
            InputWarning,
            stacklevel=2,
        )
    return Detections(name=path.name, sha256=sha256_file(path), records=records)


def iou_type_of(records: Sequence[dict[str, Any]], *, wanted: str = "auto") -> IouType:
    """What results are meant for, "auto": masks if they bring RLE, else boxes.

    Polygons beside a box do not count as masks: pycocotools' `loadRes` writes the box's corners there.

    Raises:
        InputError: `wanted` is neither auto nor segm nor bbox.
    """
    if wanted in get_args(IouType):
        return cast(IouType, wanted)
    if wanted != "auto":
        raise InputError(f"no results are of type {wanted!r}; expected auto, segm or bbox")
    segmentations = [record.get("segmentation") for record in records]
    if any(isinstance(segmentation, dict) for segmentation in segmentations):
        return "segm"
    return "bbox" if any(record.get("bbox") for record in records) else "segm"


def checked_for(truth: Annotations, detections: Detections, *, iou_type: IouType) -> list[dict[str, Any]]:
    """The records as scoring reads them: image, category, score and either a box or checked RLE, not both.

    A box beside a mask would lend pycocotools and lvis its area in the place of the mask's, so it is left out.
    Where no record has a box, box AP takes the masks', with the masks' areas, as pycocotools does.

    Raises:
        InputError: a detection of an image that is not in the annotations, no known category, no or a malformed mask.
    """
    shapes = truth.shapes
    strangers = Counter(record["image_id"] for record in detections.records if record["image_id"] not in shapes)
    if strangers:
        raise InputError(
            f"{detections.name}: {truth.name} does not have the images of {sum(strangers.values())} of "
            f"{counted(len(detections.records), 'detection')}, image_id {next(iter(strangers))!r} first; "
            "give the annotations that the results were made for"
        )
    known = {category["id"] for category in truth.categories}
    if not any(record["category_id"] in known for record in detections.records):
        raise InputError(
            f"{detections.name}: none of its detections has a category of {truth.name}; it has category_id "
            f"{detections.records[0]['category_id']!r}, the annotations {sorted(known)[:3]} ... (COCO's 80 run from 1 to 90)"
        )
    boxes = iou_type == "bbox" and any(record.get("bbox") for record in detections.records)
    checked = []
    for number, record in enumerate(detections.records):
        kept = {name: record[name] for name in ("image_id", "category_id", "score")}
        field = "bbox" if boxes else "segmentation"
        try:
            if not record.get(field):
                raise InputError(f"no {field}, which other results have or {iou_type} AP needs; expected it in all of them")
            shape = shapes[record["image_id"]]
            kept[field] = record[field] if boxes else to_rle(record[field], shape=shape)
        except InputError as error:
            raise InputError(f"{detections.name}, result {number}, image {record['image_id']}: {error}") from error
        checked.append(kept)
    return checked


def unknown_categories(truth: Annotations, records: Sequence[dict[str, Any]]) -> int:
    """How many detections have a category that the annotations do not list; they count neither for nor against."""
    known = {category["id"] for category in truth.categories}
    return sum(record["category_id"] not in known for record in records)


def _repeated(records: Sequence[dict[str, Any]]) -> int:
    """How many records equal an earlier one in photo, category, score, box and mask."""
    fields = ("image_id", "category_id", "score", "bbox", "segmentation")
    return len(records) - len({hash(repr([record.get(field) for field in fields])) for record in records})


def _problem(record: Any) -> str | None:
    if not isinstance(record, dict):
        return f"is {json_kind(record)}"
    missing = [field for field in ("image_id", "category_id", "score") if field not in record]
    if missing:
        return f"no {' and no '.join(missing)}"
    for field in ("image_id", "category_id"):
        if not is_whole(record[field]):
            return f"{field} {repr(record[field])[:MAX_SHOWN]} is no whole number"
    if not is_finite(record["score"]):
        return f"score {repr(record['score'])[:MAX_SHOWN]} is no finite number"
    box = record.get("bbox")
    if not box:
        return None if record.get("segmentation") else "neither bbox nor segmentation"
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite, box)):
        return f"bbox {repr(box)[:MAX_SHOWN]} is not four finite numbers"
    return f"bbox {box!r} has a negative size" if box[2] < 0 or box[3] < 0 else None
