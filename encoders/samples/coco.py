"""COCO-format annotations and their photos, as samples. LVIS and converted data sets use the same format.

LVIS differs in three ways: its photos lie in COCO's `train2017` and `val2017`, named by `coco_url` alone (version 1) or beside
a file name of 2014 (version 0.5), and its instances have no `iscrowd`, as it has no crowds.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from encoders.errors import InputError, InputWarning
from encoders.geometry import Shape
from encoders.messages.words import counted
from encoders.samples.annotation_json import read_annotation_json
from encoders.samples.image import read_image
from encoders.samples.rle import Rle, decode_segmentation, to_rle, to_rles
from encoders.samples.sample import Sample
from encoders.untrusted import json_kind

FIELDS = ("id", "segmentation")  # what every instance must state; the rest follows from its mask
MAX_WHOLE = 2**63 - 1  # of an id, which becomes int64


class CocoDataset:
    """Photos with their instances; indexable, read lazily, one photo at a time.

    Args:
        annotations: a COCO-format json (`images`, `annotations`, optional `categories`).
        images: folder of the photos, or of COCO's folders `train2017` and `val2017`; `images/` beside the json when None.
        present_only: leave out the images whose photo is not there; `absent` says how many.

    Raises:
        InputError: the file is missing, is no json, has no `images`, or a record lacks its id, name or image; or two
            image records have one id; or `present_only` leaves none.

    Warns:
        InputWarning: annotations are of images that are not listed; they are left out.
    """

    def __init__(
        self, annotations: Path | str, *, images: Path | str | None = None, present_only: bool = False
    ) -> None:
        self.path = Path(annotations)
        self.images = Path(images) if images is not None else self.path.parent / "images"
        content = read_annotation_json(self.path, expected="a COCO-format json of instances")
        if not isinstance(content, dict) or not isinstance(content.get("images"), list):
            raise InputError(f"{self.path} has no list of 'images'; expected COCO format")
        if not content["images"]:
            raise InputError(f"{self.path} has an empty list of 'images'; expected at least one")
        self._instances: dict[int, list[dict[str, Any]]] = defaultdict(list)
        try:
            self.categories: dict[int, str] = {c["id"]: c["name"] for c in content.get("categories", [])}
            categories = content.get("categories", [])
            self._frequencies: dict[int, str] = {c["id"]: c["frequency"] for c in categories if "frequency" in c}
            self.records: list[dict[str, Any]] = sorted(content["images"], key=lambda record: record["id"])
            for record, following in zip(self.records, [*self.records[1:], {}], strict=True):
                file_name(record)
                if record["id"] == following.get("id"):
                    raise InputError(f"{self.path} lists image id {record['id']} twice; remove one of the records")
            for annotation in content.get("annotations", []):
                self._instances[annotation["image_id"]].append(annotation)
            strays = set(self._instances) - {record["id"] for record in self.records}
        except (KeyError, TypeError) as error:
            reason = f"a record without {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{self.path} is not in COCO format ({reason})") from error
        if count := sum(len(self._instances[id_]) for id_ in strays):
            warnings.warn(
                f"{self.path}: left out {counted(count, 'annotation')}, of {counted(len(strays), 'image')} not in its list",
                InputWarning,
                stacklevel=2,
            )
        self.absent = 0
        if present_only:
            present = [record for record in self.records if self.photo_path(record).is_file()]
            if self.records and not present:
                photos = counted(len(self.records), "photo")
                raise InputError(f"{self.images} has none of {photos} of {self.path}; name the folder that holds them")
            self.absent = len(self.records) - len(present)
            self.records = present

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read photo `index` in order of image id."""
        record = self.records[index]
        sample = sample_from_coco(record, self.instances(index), image=read_image(self.photo_path(record)))
        if self._frequencies:  # LVIS: r, c or f of each instance's category
            sample.meta["frequencies"] = [self._frequencies.get(int(category), "") for category in sample.category_ids]
        return sample

    def photo_path(self, record: dict[str, Any]) -> Path:
        """Return a photo's path, from its file name or its `coco_url`, in the folder or in the url's subfolder.

        The first of these if none is there.
        """
        places = [file_name(record)]
        if "coco_url" in record:
            place = url_place(record)
            places += [PurePosixPath(place).name, place]
        found = (self.images / place for place in places if (self.images / place).is_file())
        return next(found, self.images / places[0])

    def instances(self, index: int) -> list[dict[str, Any]]:
        """Annotations of photo `index`, as the json states them."""
        return self._instances.get(self.records[index]["id"], [])


def file_name(record: dict[str, Any]) -> str:
    """File name of an image record; LVIS has only a `coco_url`."""
    return str(record.get("file_name") or Path(record["coco_url"]).name)


def url_place(record: dict[str, Any]) -> str:
    """Folder and name of an image's photo as its `coco_url` ends: `val2017/000000397133.jpg`."""
    return "/".join(PurePosixPath(str(record["coco_url"])).parts[-2:])


def is_lvis_image(record: dict[str, Any]) -> bool:
    """Whether an image record is LVIS's, whose photos are COCO's: it names categories that were looked for, or no file."""
    return "coco_url" in record and ("neg_category_ids" in record or not record.get("file_name"))


def normalize_instances(annotations: list[Any], *, shape: Shape) -> list[dict[str, Any]]:
    """Like `normalize_instance` for all instances of a photo; faster, as sound RLE masks are checked together."""
    rles = None
    if all(isinstance(annotation, dict) for annotation in annotations):
        rles = to_rles([annotation.get("segmentation") for annotation in annotations], shape=shape)
    checked: list[Rle | None] = [*rles] if rles else [None] * len(annotations)
    return [
        normalize_instance(annotation, shape=shape, rle=rle) for annotation, rle in zip(annotations, checked, strict=True)
    ]


def normalize_instance(annotation: Any, *, shape: Shape, rle: Rle | None = None) -> dict[str, Any]:
    """Check one instance and bring its mask to RLE, without decoding it.

    Args:
        annotation: a COCO instance; `segmentation` is polygons or RLE. `bbox` and `area` are the mask's where absent.
        shape: (height, width) of the photo in pixels.
        rle: its mask, if it was checked before.

    Returns:
        `id`, `category_id` (0 where there is none), `iscrowd`, `area` in pixels, `bbox` as x, y, width, height in
        pixels, and `segmentation` as RLE. All of it is fit for json.

    Raises:
        InputError: no instance, as captions and keypoints are none, or a value that cannot be meant.
    """
    if not isinstance(annotation, dict):
        raise InputError(f"an annotation is {json_kind(annotation)}; expected the JSON object of an instance")
    if absent := [field for field in FIELDS if field not in annotation]:
        raise InputError(
            f"annotation {annotation.get('id', '(no id)')} has no {' and no '.join(absent)}; expected instances, as in"
            " COCO's instances_*.json"
        )
    try:
        rle = rle or to_rle(annotation["segmentation"], shape=shape)
        box = annotation["bbox"] if annotation.get("bbox") is not None else coco_mask.toBbox(rle).tolist()
        area = annotation["area"] if annotation.get("area") is not None else coco_mask.area(rle)
        numbers = finite_numbers([*box, area], count=5)
        return {
            "id": _whole(annotation["id"]),
            "category_id": _whole(annotation.get("category_id", 0)),
            "iscrowd": _whole(annotation.get("iscrowd", 0)),
            "area": numbers[4],
            "bbox": numbers[:4],
            "segmentation": rle,
        }
    except (TypeError, ValueError, OverflowError) as error:
        detail = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"annotation {str(annotation['id'])[:40]}: {detail}") from error


def finite_numbers(values: Any, *, count: int) -> list[float]:
    """Return `count` finite numbers as floats; raises ValueError or TypeError for anything else."""
    numbers = [float(value) for value in values]
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{str(numbers[:8])} must be {count} finite numbers")
    return numbers


def _whole(value: Any) -> int:
    number = int(value)
    if number != value or abs(number) > MAX_WHOLE:
        raise ValueError(f"{str(value)[:40]!r} is no whole number of 64 bits")
    return number


def sample_from_coco(record: dict[str, Any], annotations: list[Any], *, image: np.ndarray) -> Sample:
    """Build a sample from an image record, its annotations and its pixels.

    Raises:
        InputError: names the photo and the annotation, see `normalize_instance`; or the photo is of another size than stated.
    """
    name = file_name(record)
    shape = (image.shape[0], image.shape[1])
    _check_size(record, shape=shape)
    try:
        instances = normalize_instances(annotations, shape=shape)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    boxes = np.asarray([a["bbox"] for a in instances], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # COCO stores x, y, width, height
    return Sample(
        key=Path(name).stem,
        image=image,
        boxes=boxes,
        masks=[decode_segmentation(a["segmentation"], shape=shape) for a in instances],
        areas=[a["area"] for a in instances],
        category_ids=[a["category_id"] for a in instances],
        annotation_ids=[a["id"] for a in instances],
        crowd=[bool(a["iscrowd"]) for a in instances],
        meta={"image_id": record["id"], "file_name": name}
        | {k: record[k] for k in ("license", "flickr_url", "coco_url") if k in record},
    )


def _check_size(record: dict[str, Any], *, shape: Shape) -> None:
    """Raise InputError if annotations were made for another photo size, as boxes and polygons would be misplaced."""
    if record.get("height") is None or record.get("width") is None:
        return
    stated = record["height"], record["width"]
    if stated == shape:
        return
    problem = f"{file_name(record)} is {shape[0]} high and {shape[1]} wide, the annotations say {stated[0]} and {stated[1]}"
    if stated == shape[::-1]:
        problem += "; a camera's turn (EXIF) is applied to photos here, so perhaps they were annotated without it"
    raise InputError(f"{problem}; give the photos that were annotated")
