"""What average precision is measured against: COCO or LVIS annotations, told apart by what the file holds."""

import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.samples.annotation_json import read_annotation_json
from encoders.samples.coco import file_name
from encoders.samples.rle import Rle, to_rle
from encoders.untrusted import json_kind

Kind = Literal["coco", "lvis"]
Fields = dict[str, tuple[Callable[[Any], bool], str]]  # name of a field -> what it must be, for the machine and in words


def is_whole(value: Any) -> bool:
    """Whether a json value is a whole number that fits int64."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())  # pandas writes 42 as 42.0
    return whole and not isinstance(value, bool) and abs(value) < 2**63


def is_finite(value: Any) -> bool:
    """Whether a json value is a number that a float can hold."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _is_size(value: Any) -> bool:
    return is_finite(value) and value >= 1 and value == int(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(is_finite, value))


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_whole, value))


WHOLE, SIZE = (is_whole, "a whole number"), (_is_size, "a whole number of pixels, 1 or more")
NEEDED: dict[str, Fields] = {
    "images": {"id": WHOLE, "height": SIZE, "width": SIZE},
    "annotations": {
        "image_id": WHOLE,
        "category_id": WHOLE,
        "bbox": (_is_box, "four finite numbers x, y, width, height"),
        "area": (is_finite, "a finite number of pixels"),
    },
    "categories": {"id": WHOLE},
}
IDS = (_is_ids, "a list of category ids")
FEDERATED: Fields = {  # an LVIS image names them, a COCO image has neither
    "neg_category_ids": IDS,
    "not_exhaustive_category_ids": IDS,
}


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Ground truth as its file states it, checked for the fields that scoring reads.

    Attributes:
        kind: decides the rules: COCO's, or LVIS's federated ones.
        name: file it comes from, for messages.
        images, annotations, categories: records of the file.
    """

    kind: Kind
    name: str
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    @property
    def shapes(self) -> dict[int, Shape]:
        """Id of each image -> its (height, width)."""
        return {image["id"]: (int(image["height"]), int(image["width"])) for image in self.images}

    def file_name(self, image: dict[str, Any]) -> str:
        """Name of an image's file.

        Raises:
            InputError: the record has none.
        """
        try:
            return file_name(image)
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.name}, image {image['id']}: no file_name and no coco_url; expected one of them") from error

    def rle(self, annotation: dict[str, Any], *, shape: Shape) -> Rle:
        """An annotation's mask.

        Raises:
            InputError: it is none; names the file and the image.
        """
        try:
            return to_rle(annotation["segmentation"], shape=shape)
        except InputError as error:
            raise InputError(f"{self.name}, image {annotation['image_id']}: {error}") from error

    def of_images(self, image_ids: Collection[int]) -> "Annotations":
        """The same truth on some of its images."""
        wanted = set(image_ids)
        return Annotations(
            kind=self.kind,
            name=self.name,
            images=[image for image in self.images if image["id"] in wanted],
            annotations=[a for a in self.annotations if a["image_id"] in wanted],
            categories=self.categories,
        )


def read_annotations(path: Path | str) -> Annotations:
    """Read a COCO or LVIS annotation file.

    Raises:
        InputError: the file is missing, is no JSON, lacks what AP is measured with or has something else there, or lists an
            image twice; says which field of which record.
    """
    content = read_annotation_json(path, expected="a COCO or LVIS json of instances")
    if not isinstance(content, dict):
        raise InputError(f"{path} is {json_kind(content)}; expected annotations: an object with {', '.join(NEEDED)}")
    for part, fields in NEEDED.items():
        if not isinstance(content.get(part), list):
            raise InputError(f"{path} has no list of {part!r}; AP needs {', '.join(NEEDED)}, as in COCO's instances_*.json")
        _check_fields(content[part], fields, where=f"{path}, {part}")
    for number, annotation in enumerate(content["annotations"]):
        if (crowd := annotation.get("iscrowd", 0)) not in (0, 1):
            raise InputError(f"{path}, annotations, record {number}: iscrowd is {str(crowd)[:60]!r}; expected 0 or 1")
    for part in ("images", "categories"):
        if not content[part]:
            raise InputError(f"{path} has no {part}; AP cannot be measured on it")
    often = Counter(image["id"] for image in content["images"])
    if twice := [id_ for id_, times in often.items() if times > 1]:
        raise InputError(f"{path} lists image id {twice[0]} twice; remove one of the records")
    return Annotations(
        kind=_kind(content, where=str(path)),
        name=Path(path).name,
        images=content["images"],
        annotations=content["annotations"],
        categories=content["categories"],
    )


def uncounted(truth: Annotations) -> dict[str, int]:
    """Annotations that AP does not measure on, by reason; the packages pass them over in silence too."""
    images, categories = ({record["id"] for record in part} for part in (truth.images, truth.categories))
    found = Counter[str]()
    for annotation in truth.annotations:
        if annotation["image_id"] not in images:
            found["of an image that is not listed"] += 1
        elif annotation["category_id"] not in categories:
            found["of a category that is not listed"] += 1
        elif annotation.get("iscrowd", 0):
            found["crowd"] += 1
    return dict(found)


def _kind(content: dict[str, Any], *, where: str) -> Kind:
    """LVIS names for each image the categories that were looked for; COCO looked for all of them."""
    if not any(field in image for image in content["images"] for field in FEDERATED):
        return "coco"
    _check_fields(content["images"], FEDERATED, where=f"{where} (LVIS), images")
    for category in content["categories"]:
        if category.get("frequency") not in ("r", "c", "f"):
            raise InputError(
                f"{where} (LVIS): category {category['id']} has frequency {category.get('frequency')!r}; expected r, c or f"
            )
    return "lvis"


def _check_fields(records: list[Any], fields: Fields, *, where: str) -> None:
    for number, record in enumerate(records):
        missing = [field for field in fields if field not in record] if isinstance(record, dict) else list(fields)
        if missing:
            raise InputError(f"{where}, record {number}: no {' and no '.join(missing)}; expected {', '.join(fields)}")
        for field, (fits, words) in fields.items():
            if not fits(record[field]):
                raise InputError(f"{where}, record {number}: {field} is {str(record[field])[:60]!r}; expected {words}")
