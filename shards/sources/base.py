"""What a source of photos is: a light list of items in a stable order, and a way to read one of them."""

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.samples.coco import sample_from_coco
from encoders.samples.sample import Sample

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MAX_JSON_BYTES = 1 << 24  # of one photo's annotations; SA-1B's have a few MiB at most, and parsed they take 20 times that
KEY_LENGTH = 80  # a tar name of 100 bytes holds the key and its longest extension


@dataclass(frozen=True, slots=True)
class Item:
    """One photo of a source, not read yet.

    Attributes:
        key: unique name within the source: letters, digits, "_" and "-".
        where: what to call it in a message, e.g. "sa_000020.tar/sa_226381"; printable.
        locator: where the source finds it; holds the size in bytes where known, so that a changed file shows.
        problem: why the item cannot be used, known from the listing alone; None where it can.
    """

    key: str
    where: str
    locator: tuple[Any, ...]
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo with its annotations as the cache stores them: masks stay run-length encoded.

    Attributes:
        key: see `Item`.
        image: (H, W, 3) uint8 RGB, upright.
        annotations: COCO instances with checked RLE masks of the size of `image`.
        meta: source, licence, attribution, original file name. JSON types only.
    """

    key: str
    image: np.ndarray
    annotations: list[dict[str, Any]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)

    def to_sample(self) -> Sample:
        """The same with decoded masks."""
        record = {"id": self.meta.get("image_id", 0), "file_name": self.meta.get("file_name", self.key)}
        sample = sample_from_coco(record, self.annotations, image=self.image)
        return replace(sample, key=self.key, meta=self.meta)


class Source(ABC):
    """Photos from somewhere. Subclasses list their items and read one of them.

    Attributes:
        name: kind and name, e.g. "sa1b:sa_000020.tar"; travels into the cache, so it holds no path of this machine.
        views: items of each photo, see `shards.sources.views`.
    """

    name: str
    views: int = 1

    @abstractmethod
    def list_items(self) -> Sequence[Item]:
        """The items in a stable order that does not depend on the file system."""

    @abstractmethod
    def read_photo(self, item: Item) -> Photo:
        """Read one item. Raises InputError where the photo or its annotations cannot be used."""

    def item_bytes(self, item: Item) -> int:
        """Bytes of the item's photo and annotations in their files; 0 where nobody knows."""
        return 0

    def key_of(self, name: str) -> str:
        """The key that a photo of this file name has."""
        return safe_key(os.path.splitext(name)[0])

    @cached_property
    def _items(self) -> Sequence[Item]:
        return list(mark_duplicates(self.list_items()))

    def items(self) -> Sequence[Item]:
        """The items in a stable order; an item whose key came before has a `problem`."""
        return self._items

    def photo(self, item: Item) -> Photo:
        """Read one item as the cache stores it. Raises InputError, also for an item with a problem."""
        if item.problem is not None:
            raise InputError(f"{item.where}: {item.problem}")
        try:
            return self.read_photo(item)
        except OSError as error:
            raise InputError(f"{item.where}: cannot be read ({error.strerror})") from error

    def read(self, item: Item) -> Sample:
        """Read one item with decoded masks. Raises InputError where it cannot be used."""
        return self.photo(item).to_sample()

    def identity(self) -> str:
        """sha256 over kind, keys and locators: changes when a photo is added, removed, renamed or resized."""
        digest = hashlib.sha256(self.name.encode("utf-8", "surrogatepass"))
        for item in self.items():
            digest.update(repr((item.key, item.locator, item.problem)).encode())
        return digest.hexdigest()


def mark_duplicates(items: Iterable[Item]) -> Iterable[Item]:
    """The same items; the second and later ones of a key get a problem that names the first."""
    first: dict[str, str] = {}
    for item in items:
        if item.problem is None and item.key in first:
            item = replace(item, problem=f"duplicate key {item.key!r}, first seen in {first[item.key]}")
        elif item.problem is None:
            first[item.key] = item.where
        yield item


def printable(name: str) -> str:
    """A file name as text for messages and JSON: control characters, and bytes that are no UTF-8, as escapes."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def safe_key(name: str) -> str:
    """A name -> the key it gets: anything but letters, digits, "_" and "-" becomes "_"; long ones end in a hash."""
    key = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")
    if not key or len(key) > KEY_LENGTH:
        key = f"{key[: KEY_LENGTH - 9]}-{short_hash(name)}".lstrip("-")
    return key


def unique_keys(names: Iterable[str]) -> list[str]:
    """Keys for distinct file names, distinct too: where two give one key, all but the first get a hash of the name."""
    seen: set[str] = set()
    keys = []
    for name in names:
        key = safe_key(os.path.splitext(name)[0])
        if key in seen:
            key = f"{key[: KEY_LENGTH - 9]}-{short_hash(name)}"
        seen.add(key)
        keys.append(key)
    return keys


def short_hash(text: str) -> str:
    """8 hex digits of a text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
