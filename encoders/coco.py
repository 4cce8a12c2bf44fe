"""COCO-format annotations and their photos, as samples. LVIS and converted data sets use the same format."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.image import read_image
from encoders.rle import decode_segmentation
from encoders.sample import Sample

FIELDS = ("id", "bbox", "area", "segmentation")  # what every instance must state


class CocoDataset:
    """Photos with their instances; indexable, read lazily, one photo at a time.

    Args:
        annotations: a COCO-format json (`images`, `annotations`, optional `categories`).
        images: folder of the photos; `images/` beside the json when None.

    Raises:
        InputError: the file is missing, is no json, has no `images`, or a record lacks its id, name or image.
    """

    def __init__(self, annotations: Path | str, *, images: Path | str | None = None) -> None:
        self.path = Path(annotations)
        self.images = Path(images) if images is not None else self.path.parent / "images"
        if not self.path.is_file():
            raise InputError(f"{self.path} does not exist; expected a COCO-format json of instances")
        try:
            content = json.loads(self.path.read_text())
        except ValueError as error:
            raise InputError(f"{self.path} is not valid json: {error}") from error
        if not isinstance(content, dict) or not isinstance(content.get("images"), list):
            raise InputError(f"{self.path} has no list of 'images'; expected COCO format")
        self._instances: dict[int, list[dict[str, Any]]] = defaultdict(list)
        try:
            self.categories: dict[int, str] = {c["id"]: c["name"] for c in content.get("categories", [])}
            self.records: list[dict[str, Any]] = sorted(content["images"], key=lambda record: record["id"])
            for record in self.records:
                file_name(record)
            for annotation in content.get("annotations", []):
                self._instances[annotation["image_id"]].append(annotation)
        except (KeyError, TypeError) as error:
            reason = f"a record without {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{self.path} is not in COCO format ({reason})") from error

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read photo `index` in order of image id."""
        record = self.records[index]
        return sample_from_coco(record, self.instances(index), image=read_image(self.images / file_name(record)))

    def instances(self, index: int) -> list[dict[str, Any]]:
        """Annotations of photo `index`, as the json states them."""
        return self._instances.get(self.records[index]["id"], [])


def file_name(record: dict[str, Any]) -> str:
    """File name of an image record; LVIS has only a `coco_url`."""
    return str(record.get("file_name") or Path(record["coco_url"]).name)


def sample_from_coco(record: dict[str, Any], instances: list[dict[str, Any]], *, image: np.ndarray) -> Sample:
    """One image record, its annotations and its pixels as a sample.

    Raises:
        InputError: an annotation lacks one of `FIELDS`, or its segmentation is malformed or of another image size.
    """
    name = file_name(record)
    for instance in instances:
        if absent := [field for field in FIELDS if field not in instance]:
            raise InputError(
                f"{name}: annotation {instance.get('id', '(no id)')} has no {' and no '.join(absent)}; "
                "expected instances, as in COCO's instances_*.json"
            )
    shape = (image.shape[0], image.shape[1])
    boxes = np.asarray([a["bbox"] for a in instances], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # COCO stores x, y, width, height
    return Sample(
        key=Path(name).stem,
        image=image,
        boxes=boxes,
        masks=[decode_segmentation(a["segmentation"], shape=shape) for a in instances],
        areas=[a["area"] for a in instances],
        category_ids=[a.get("category_id", 0) for a in instances],
        annotation_ids=[a["id"] for a in instances],
        crowd=[bool(a.get("iscrowd", 0)) for a in instances],
        meta={"image_id": record["id"], "file_name": name}
        | {k: record[k] for k in ("license", "flickr_url", "coco_url") if k in record},
    )
