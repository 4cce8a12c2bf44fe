"""A compact lazy sequence of the photos in many tars: 11 million photos take 0.5 GiB."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from shards.sources.base import Item, printable, safe_key
from shards.sources.tar_index import TarIndex

NO_PHOTO, NO_JSON = "a json without its photo", "a photo without its json"


class TarItems(Sequence[Item]):
    """Items of tars in order of tar and offset. If a tar cannot be read to its end, an extra last item says so.

    An item's locator is (number of the tar, photo span, json span); a span is offset and size in bytes, or None.

    Args:
        tars: the files, in order.
        indexes: one per tar.
        masks: if False, json members are neither required nor read.
    """

    def __init__(self, tars: Sequence[Path], indexes: Iterator[TarIndex], *, masks: bool) -> None:
        self._names = [printable(tar.name) for tar in tars]
        self._parts = [_Part(index, masks=masks) for index in indexes]
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in self._parts])]).astype(np.int64)
        self._repeated: dict[int, str] = {}
        self._repeated = self._find_repeated()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        tar = int(np.searchsorted(self._starts, number, side="right")) - 1
        place = number - int(self._starts[tar])
        return next(self._tar_items(tar, range(place, place + 1)))

    def __iter__(self) -> Iterator[Item]:
        for tar, part in enumerate(self._parts):
            yield from self._tar_items(tar, range(len(part)))

    def _tar_items(self, tar: int, places: range) -> Iterator[Item]:
        part, tar_name, first = self._parts[tar], self._names[tar], int(self._starts[tar])
        rows = part.spans[places.start : places.stop].tolist()
        for place, name, (photo, photo_size, json, json_size) in zip(places, part.names(places), rows, strict=False):
            problem = part.problem(place, photo=photo, json=json) or self._repeated.get(first + place)
            spans = ((photo, photo_size) if photo >= 0 else None, (json, json_size) if json >= 0 else None)
            yield Item(key_of_member(name), f"{tar_name}/{printable(name)}", (tar, *spans), problem)
        if part.ending is not None and len(part) - 1 in places:
            yield Item(safe_key(f"{tar_name.removesuffix('.tar')}-end"), tar_name, (tar, None, None), part.ending)

    def _find_repeated(self) -> dict[int, str]:
        """Return a problem text for each item, by index, that repeats an earlier key; skips items with other problems."""
        hashes = np.zeros(len(self), np.uint64)
        for first, part in zip(self._starts.tolist(), self._parts, strict=False):
            for number, name in enumerate(part.names(range(len(part))), start=first):
                digest = hashlib.blake2b(key_of_member(name).encode(), digest_size=8).digest()
                hashes[number] = int.from_bytes(digest, "little")
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        first_of: dict[str, str] = {}
        repeated: dict[int, str] = {}
        for number in np.flatnonzero(counts[inverse] > 1).tolist():
            item = self[number]
            if item.problem is None and item.key in first_of:
                repeated[number] = f"duplicate key {item.key!r}, first seen in {first_of[item.key]}"
            elif item.problem is None:
                first_of[item.key] = item.where
        return repeated

    def digest(self) -> str:
        """Return the sha256 over all names, spans and problems."""
        digest = hashlib.sha256()
        for name, part in zip(self._names, self._parts, strict=True):
            facts = (name, part.problems, part.ending, part.annotated)
            for content in (repr(facts).encode(), part.text, part.ends.tobytes(), part.spans.tobytes()):
                digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()


def is_ending(item: Item) -> bool:
    """Return whether an item stands for the unreadable rest of a tar rather than for a photo."""
    return item.problem is not None and item.locator[1:] == (None, None)


def key_of_member(name: str) -> str:
    """Return the key for a member's name without its suffix: its base name, made safe."""
    return safe_key(name.rpartition("/")[2])


class _Part:
    """One tar's items in few Python objects: all names as one text, and their spans."""

    def __init__(self, index: TarIndex, *, masks: bool) -> None:
        spans = np.array(index.spans, np.int64).reshape(-1, 4)
        kept = np.arange(len(spans))
        if not masks:
            spans[:, 2:] = -1
            kept = np.flatnonzero(spans[:, 0] >= 0)
        names = [index.names[number].encode("utf-8", "surrogateescape") for number in kept]
        self.text = b"".join(names)
        self.ends = np.cumsum([len(name) for name in names], dtype=np.int64).astype(np.int32)
        self.spans = spans[kept]
        places = {number: place for place, number in enumerate(kept.tolist())}
        self.problems = {places[number]: problem for number, problem in index.problems.items() if number in places}
        self.annotated = bool((spans[:, 2] >= 0).any())
        self.ending = index.ending

    def __len__(self) -> int:
        return len(self.ends) + (self.ending is not None)

    def names(self, places: range) -> Iterator[str]:
        """Return the names of these pairs; the item for an unreadable end has none."""
        ends = self.ends[places.start : places.stop].tolist()
        start = int(self.ends[places.start - 1]) if places.start else 0
        for end in ends:
            yield self.text[start:end].decode("utf-8", "surrogateescape")
            start = end

    def problem(self, place: int, *, photo: int, json: int) -> str | None:
        """Return why a pair cannot be used, given the offsets of its members (-1 if absent)."""
        if place in self.problems:
            return self.problems[place]
        if photo < 0:
            return NO_PHOTO
        return NO_JSON if self.annotated and json < 0 else None
