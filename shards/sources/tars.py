"""SA-1B tars as a source, read without unpacking: one pass over the headers, then each member by its offset."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.samples.image import decode_shrunk
from encoders.untrusted import json_kind
from shards.sources.annotations import normalize_annotations, plain_facts
from shards.sources.base import Item, Photo, Source
from shards.sources.remote import RemoteTar
from shards.sources.tar_index import Listing, Tar, TarIndex, keep_indexes, read_index
from shards.sources.tar_items import TarItems, key_of_member

Span = tuple[int, int]  # offset and size of a member's data, bytes
NAMED = 3  # unreadable tars named in an error


class TarSource(Source):
    """Tars of `NAME.jpg` and `NAME.json` (SA-1B's format), in order of tar name and, within a tar, of offset.

    The two members of a pair may come in any order. A tar without any json is a tar of photos without annotations; in
    a tar with json, a photo without one is a broken pair.

    Args:
        tars: paths, or tars in an object store; read in order of their names.
        masks: if False, annotations are not read.
        listing: how to list the tars.

    Raises:
        InputError: a file is missing or is not a tar, or the tars contain no photo.
    """

    def __init__(self, tars: Sequence[Path | str | RemoteTar], *, masks: bool = True, listing: Listing | None = None) -> None:
        opened = (tar if isinstance(tar, RemoteTar) else Path(tar) for tar in tars)
        self.tars = sorted(opened, key=lambda tar: (tar.name, str(tar)))
        self.masks = masks
        self._listing = listing or Listing()
        names = self.tars[0].name if len(self.tars) == 1 else f"{self.tars[0].name}..{self.tars[-1].name}"
        self.name = f"sa1b:{names}" + ("" if masks else ":no masks")
        if not any(item.problem is None for item in self.items()):
            problems = "; ".join(f"{item.where}: {item.problem}" for item in self.items()[:3])
            raise InputError(
                f"{', '.join(str(tar) for tar in self.tars[:3])}: no photo found; expected members NAME.jpg and"
                f" NAME.json as in SA-1B{f' ({problems})' if problems else ''}"
            )

    @cached_property
    def _items(self) -> TarItems:
        return self.list_items()

    def list_items(self) -> TarItems:
        """List the pairs; the key is the member's base name without its suffix, made safe."""
        keep_indexes(self.tars, self._listing)
        return TarItems(self.tars, self._read_indexes(), masks=self.masks)

    def _read_indexes(self) -> Iterator[TarIndex]:
        """Read one index per tar; unreadable tars are reported together at the end."""
        unreadable = []
        for tar in self.tars:
            try:
                yield read_index(tar, folder=self._listing.folder)
            except InputError as error:
                unreadable.append(str(error))
        if unreadable:
            more = f" (and {len(unreadable) - NAMED} more tars)" if len(unreadable) > NAMED else ""
            raise InputError("; ".join(unreadable[:NAMED]) + more)

    def identity(self) -> str:
        """Return the sha256 over the tars' names and indexes."""
        return self._items.digest()

    def key_of(self, name: str) -> str:
        """Return the key of the member with this name."""
        return key_of_member(os.path.splitext(name)[0])

    def item_bytes(self, item: Item) -> int:
        """Return the size of the pair's members in bytes."""
        return sum(span[1] for span in item.locator[1:] if span is not None)

    def read_photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read one pair by its offsets."""
        index, photo, annotations = item.locator
        with _opened(self.tars[index]) as read:
            image, shape = decode_shrunk(_read(read, photo, item.where), name=item.where, long_side=long_side)
            raw = None if annotations is None else _read(read, annotations, item.where)
        record = {} if raw is None else parse_annotations(raw, where=item.where)
        facts = record.get("image")
        facts = facts if isinstance(facts, dict) else {}
        return Photo(
            key=item.key,
            image=image,
            annotations=normalize_annotations(record.get("annotations", []), shape=shape, where=item.where),
            meta={"source": self.name, "file_name": item.where} | plain_facts(facts, ("image_id", "license"), where=item.where),
            whole=shape,
        )


def parse_annotations(data: bytes, *, where: str) -> dict[str, Any]:
    """Parse an SA-1B json. Raises InputError if it is not JSON or has another structure."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its json cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("annotations"), list):
        raise InputError(f"{where}: its json, {json_kind(record)}, has no list of 'annotations'; expected SA-1B's format")
    return record


@contextmanager
def _opened(tar: Tar) -> Iterator[Callable[[int, int], bytes]]:
    """Yield a function that reads bytes of a tar, given their offset and number."""
    if isinstance(tar, RemoteTar):
        yield tar.read_at
        return
    with tar.open("rb") as file:
        yield lambda offset, size: os.pread(file.fileno(), size, offset)


def _read(read: Callable[[int, int], bytes], span: Span, where: str) -> bytes:
    offset, size = span
    data = read(offset, size)
    if len(data) != size:
        raise InputError(f"{where}: {len(data)} of {size} bytes could be read; the tar was changed or cut off")
    return data
