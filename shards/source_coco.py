"""A COCO-format json and its photos as a source."""

import os
from pathlib import Path

from encoders.coco import CocoDataset, file_name
from encoders.errors import InputError
from encoders.files import sha256_file
from encoders.image import read_image
from shards.annotations import normalize_annotations
from shards.source import Item, Photo, Source, safe_key


class CocoSource(Source):
    """Photos with instances, in order of image id.

    Args:
        annotations: the json.
        images: folder of the photos; `images/` beside the json when None.

    Raises:
        InputError: no such file or folder, no COCO format, or no image in it.
    """

    def __init__(self, annotations: Path | str, *, images: Path | str | None = None) -> None:
        self.data = CocoDataset(annotations, images=images)
        self.name = f"coco:{self.data.path.name}"
        self._sha256 = sha256_file(self.data.path)
        if not self.data.images.is_dir():
            raise InputError(f"{self.data.images} is no folder; give the folder of the photos of {self.data.path}")
        if not len(self.data):
            raise InputError(f"{self.data.path} lists no image")

    def list_items(self) -> list[Item]:
        """Key: the file name without its suffix, made safe."""
        items = []
        for index, record in enumerate(self.data.records):
            name = file_name(record)
            problem = _unsafe(name)
            items.append(Item(safe_key(os.path.splitext(name)[0]), name, (index, name, self._sha256), problem))
        return items

    def read_photo(self, item: Item) -> Photo:
        """Read one photo and its instances."""
        index, name, _ = item.locator
        record = self.data.records[index]
        image = read_image(self.data.images / name)
        shape = (image.shape[0], image.shape[1])
        stated = (record.get("height", shape[0]), record.get("width", shape[1]))
        if stated != shape:
            raise InputError(f"{name}: the photo is {shape}, its annotations are for {stated} (height, width)")
        return Photo(
            key=item.key,
            image=image,
            annotations=normalize_annotations(self.data.instances(index), shape=shape, where=name),
            meta={"source": self.name, "image_id": record["id"], "file_name": name}
            | {k: record[k] for k in ("license", "flickr_url", "coco_url") if k in record},
        )


def _unsafe(name: str) -> str | None:
    """Why a file name of a json must not be opened, or None."""
    path = Path(name)
    return "leads out of the folder of photos" if path.is_absolute() or ".." in path.parts else None
