"""The photo source interface: a light list of items in a stable order, and a method to read one item."""

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
from encoders.geometry import Shape
from encoders.samples.coco import sample_from_coco
from encoders.samples.sample import Sample

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MAX_JSON_BYTES = 1 << 24  # limit of one photo's annotations; SA-1B has a few MiB at most, and parsing takes 20 times that
KEY_LENGTH = 80  # a tar name of 100 bytes holds the key and its longest extension


@dataclass(frozen=True, slots=True)
class Item:
    """One photo of a source, listed but not read yet.

    Attributes:
        key: unique name within the source: letters, digits, "_" and "-".
        where: printable name for messages, e.g. "sa_000020.tar/sa_226381".
        locator: tells the source where to find it; includes the size in bytes if known, so that a changed file is noticed.
        problem: why the item cannot be used, as far as the listing shows; None if it can.
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
        image: (H, W, 3) uint8 RGB, upright; perhaps smaller than the photo, see `Source.photo`.
        annotations: COCO instances with checked RLE masks of the size of the whole photo.
        meta: source, licence, attribution, original file name. JSON types only.
        whole: (height, width) of the whole photo in pixels; None if `image` is the whole photo.
    """

    key: str
    image: np.ndarray
    annotations: list[dict[str, Any]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    whole: Shape | None = None

    @property
    def shape(self) -> Shape:
        """(height, width) of the whole photo in pixels."""
        return self.whole or (self.image.shape[0], self.image.shape[1])

    def to_sample(self) -> Sample:
        """Return the photo with decoded masks."""
        record = {"id": self.meta.get("image_id", 0), "file_name": self.meta.get("file_name", self.key)}
        sample = sample_from_coco(record, self.annotations, image=self.image)
        return replace(sample, key=self.key, meta=self.meta)


class Source(ABC):
    """Base class of photo sources. Subclasses list items and read single items.

    Attributes:
        name: kind and name, e.g. "sa1b:sa_000020.tar"; stored in the cache, so it contains no local path.
        views: number of items per photo, see `shards.sources.views`.
    """

    name: str
    views: int = 1

    @abstractmethod
    def list_items(self) -> Sequence[Item]:
        """Return the items in a stable order that does not depend on the file system."""

    @abstractmethod
    def read_photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read one item, see `photo`. Raises InputError if the photo or its annotations cannot be used."""

    def item_bytes(self, item: Item) -> int:
        """Return the size of the item's photo and annotations in bytes; 0 if unknown."""
        return 0

    def key_of(self, name: str) -> str:
        """Return the key of the photo with this file name."""
        return safe_key(os.path.splitext(name)[0])

    @cached_property
    def _items(self) -> Sequence[Item]:
        return list(mark_duplicates(self.list_items()))

    def items(self) -> Sequence[Item]:
        """Return the items in a stable order; an item with an already used key has a `problem`."""
        return self._items

    def photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read one item in the form that the cache stores. Raises InputError, also for an item with a `problem`.

        Args:
            long_side: pixels that the image will have after it is resized, so that a large JPEG may be decoded at half its
                size or less, in less time; None for the whole image.
        """
        if item.problem is not None:
            raise InputError(f"{item.where}: {item.problem}")
        try:
            return self.read_photo(item) if long_side is None else self.read_photo(item, long_side=long_side)
        except OSError as error:
            raise InputError(f"{item.where}: cannot be read ({error.strerror})") from error

    def read(self, item: Item) -> Sample:
        """Read one item with decoded masks. Raises InputError if it cannot be used."""
        return self.photo(item).to_sample()

    def identity(self) -> str:
        """Return the sha256 over kind, keys and locators; it changes if a photo is added, removed, renamed or resized."""
        digest = hashlib.sha256(self.name.encode("utf-8", "surrogatepass"))
        for item in self.items():
            digest.update(repr((item.key, item.locator, item.problem)).encode())
        return digest.hexdigest()


def mark_duplicates(items: Iterable[Item]) -> Iterable[Item]:
    """Return the items with a `problem`, naming the first item, on each repetition of a key."""
    first: dict[str, str] = {}
    for item in items:
        if item.problem is None and item.key in first:
            item = replace(item, problem=f"duplicate key {item.key!r}, first seen in {first[item.key]}")
        elif item.problem is None:
            first[item.key] = item.where
        yield item


def printable(name: str) -> str:
    """Make a file name printable for messages and JSON, escaping control characters and bytes that are not UTF-8."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def safe_key(name: str) -> str:
    """Turn a name into a key: anything but letters, digits, "_" and "-" becomes "_"; long names end in a hash."""
    key = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")
    if not key or len(key) > KEY_LENGTH:
        key = f"{key[: KEY_LENGTH - 9]}-{short_hash(name)}".lstrip("-")
    return key


def unique_keys(names: Iterable[str]) -> list[str]:
    """Return distinct keys for distinct file names; if two names give the same key, all but the first get a hash appended."""
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
    """Return the first 8 hex digits of a text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
