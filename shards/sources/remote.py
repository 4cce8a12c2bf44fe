"""Photos in an object store: tars of which only headers and members are read, and folders of photos."""

import fnmatch
import glob
import stat
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from encoders.errors import InputError
from encoders.samples.image import MAX_PHOTO_BYTES, decode_shrunk
from shards.sources.base import PHOTO_SUFFIXES, Item, Photo, Source, printable, unique_keys
from shards.stores.base import ObjectStore
from shards.stores.objects import open_objects


@dataclass(frozen=True)
class TarFacts:
    """What identifies a version of a tar, under the names that `os.stat` has for files."""

    st_size: int
    st_mtime_ns: int
    st_mode: int = stat.S_IFREG


@dataclass(frozen=True)
class RemoteTar:
    """A tar in an object store; used like a Path where tars are listed and read."""

    store: ObjectStore
    name: str

    def __str__(self) -> str:
        return self.store.where(self.name)

    def stat(self) -> TarFacts:
        """Return size and version. Raises FileNotFoundError."""
        size, version = self.store.facts(self.name)
        return TarFacts(size, version)

    def open(self, mode: str = "rb", buffering: int = -1) -> AbstractContextManager[BinaryIO]:
        """Open for reading."""
        return self.store.open(self.name)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes from `offset` on."""
        return self.store.read_range(self.name, start=offset, size=size)


class RemoteFolderSource(Source):
    """All photos under a folder in an object store; named and listed as `shards.sources.folder.FolderSource` does.

    Raises:
        InputError: the folder holds no photo.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.name = f"folder:{printable(store.url.rpartition('/')[2])}"
        if not self.items():
            raise InputError(f"{store.url} holds no photo; expected files ending in {', '.join(PHOTO_SUFFIXES)}")

    def list_items(self) -> list[Item]:
        """List the photos; the key is the relative name without its suffix, made safe."""
        sizes = self.store.list_all()
        names = sorted(name for name in sizes if _is_photo(name))
        return [
            Item(key, printable(name), (name, sizes[name])) for key, name in zip(unique_keys(names), names, strict=True)
        ]

    def item_bytes(self, item: Item) -> int:
        """Return the size of the photo in bytes."""
        return int(item.locator[1])

    def read_photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read one photo; it has no annotations."""
        content = self.store.read(item.locator[0], max_bytes=MAX_PHOTO_BYTES)
        if content is None:
            raise InputError(f"{item.where} does not exist; expected a file")
        image, whole = decode_shrunk(content, name=item.where, long_side=long_side)
        return Photo(key=item.key, image=image, meta={"source": self.name, "file_name": item.where}, whole=whole)


def find_remote(spec: str) -> list[RemoteTar] | ObjectStore:
    """Return the tars that a URL names (a tar, a glob, a folder of tars), or the folder of photos.

    Raises:
        InputError: nothing is there, or both are; see also `shards.stores.objects.open_objects`.
    """
    parent, _, last = spec.rstrip("/").rpartition("/")
    if glob.has_magic(parent):
        raise InputError(f"{spec}: expected * and ? in the last part of a URL only")
    if last.lower().endswith(".tar") or glob.has_magic(last):
        store = open_objects(parent)
        names = sorted(name for name in store.list() if fnmatch.fnmatchcase(name, last)) if glob.has_magic(last) else [last]
        if wrong := [name for name in names if not name.lower().endswith(".tar")]:
            raise InputError(f"{store.where(wrong[0])} is no .tar; a glob must name SA-1B tars only")
        if not names:
            raise InputError(f"{store.where(last)} matches no file; expected SA-1B tars")
        return [RemoteTar(store, name) for name in names]
    store = open_objects(spec)
    there = store.list()
    tars = [name for name in sorted(there) if name.lower().endswith(".tar")]
    photos = [name for name in there if _is_photo(name)]
    if tars and photos:
        raise InputError(f"{store.url} holds {len(tars)} tars and {len(photos)} photos; name the tars with a glob (*.tar)")
    return [RemoteTar(store, name) for name in tars] if tars else store


def find_all_remote(specs: Sequence[str]) -> list[RemoteTar]:
    """Return the tars that several URLs name, without repetition."""
    found: dict[str, RemoteTar] = {}
    for spec in specs:
        tars = find_remote(spec)
        if not isinstance(tars, list):
            raise InputError(f"{spec} is no .tar and holds none; a list must name SA-1B tars only")
        found |= {str(tar): tar for tar in tars}
    return list(found.values())


def _is_photo(name: str) -> bool:
    return name.lower().endswith(PHOTO_SUFFIXES) and not any(part.startswith(".") for part in name.split("/"))
