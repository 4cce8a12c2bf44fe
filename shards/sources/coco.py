"""A COCO-format json and its photos as a source."""

import os
from pathlib import Path

from encoders.errors import InputError
from encoders.files import sha256_file
from encoders.samples.coco import CocoDataset, file_name
from encoders.samples.image import read_shrunk
from shards.sources.annotations import normalize_annotations, plain_facts
from shards.sources.base import Item, Photo, Source, printable, safe_key
from shards.sources.folder import photo_size

FACTS = ("license", "flickr_url", "coco_url")


class CocoSource(Source):
    """Photos with instances, in order of image id.

    Args:
        annotations: the json.
        images: folder of the photos; `images/` beside the json when None.
        masks: if False, annotations are not read.

    Raises:
        InputError: the file or folder does not exist, the json is not in COCO format, or it lists no image.
    """

    def __init__(self, annotations: Path | str, *, images: Path | str | None = None, masks: bool = True) -> None:
        self.data = CocoDataset(annotations, images=images)
        self.masks = masks
        self.name = f"coco:{printable(self.data.path.name)}" + ("" if masks else ":no masks")
        self._sha256 = sha256_file(self.data.path)
        if not self.data.images.is_dir():
            raise InputError(f"{self.data.images} is not a folder; give the folder of the photos of {self.data.path}")
        if not len(self.data):
            raise InputError(f"{self.data.path} lists no image")

    def list_items(self) -> list[Item]:
        """List the photos; the key is the file name without its suffix, made safe."""
        items = []
        for index, record in enumerate(self.data.records):
            name = file_name(record)
            unsafe = _unsafe(name)
            size, problem = (None, unsafe) if unsafe else photo_size(self.data.images / name)
            key = safe_key(os.path.splitext(name)[0])
            items.append(Item(key, printable(name), (index, name, size, self._sha256), problem))
        return items

    def item_bytes(self, item: Item) -> int:
        """Return the size of the photo's file in bytes."""
        return int(item.locator[2] or 0)

    def read_photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read one photo and its instances."""
        index, name, *_ = item.locator
        record = self.data.records[index]
        image, shape = read_shrunk(self.data.images / name, name=item.where, long_side=long_side)
        instances = self.data.instances(index) if self.masks else []
        stated = (record.get("height", shape[0]), record.get("width", shape[1]))
        if self.masks and stated != shape:
            raise InputError(f"{item.where}: the photo is {shape}, its annotations are for {stated} (height, width)")
        return Photo(
            key=item.key,
            image=image,
            annotations=normalize_annotations(instances, shape=shape, where=item.where),
            meta={"source": self.name, "file_name": item.where}
            | {"image_id": plain_facts(record, ("id",), where=item.where)["id"]}
            | plain_facts(record, FACTS, where=item.where),
            whole=shape,
        )


def _unsafe(name: str) -> str | None:
    """Return why a file name from a json must not be opened; None if it may be."""
    path = Path(name)
    return "leads out of the folder of photos" if path.is_absolute() or ".." in path.parts else None
