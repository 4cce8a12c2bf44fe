"""A compact lazy sequence of the photos in many tars: 11 million photos take 0.5 GiB."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from shards.sources.base import KEY_LENGTH, Item, printable, safe_key
from shards.sources.kept_index import TarIndex
from shards.sources.remote import RemoteTar
from shards.sources.repeats import repeated_numbers

NO_PHOTO, NO_JSON = "a json without its photo", "a photo without its json"
PLAIN = re.compile("[A-Za-z0-9_-]*")


class TarItems(Sequence[Item]):
    """Items of tars in order of tar and offset. If a tar cannot be read to its end, an extra last item says so.

    An item's locator is (number of the tar, photo span, json span); a span is offset and size in bytes, or None.

    Args:
        tars: the files, in order.
        indexes: one per tar.
        masks: if False, json members are neither required nor read.
    """

    def __init__(self, tars: Sequence[Path | RemoteTar], indexes: Iterator[TarIndex], *, masks: bool) -> None:
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
            wanted = range(*number.indices(len(self)))
            return list(self._run(wanted)) if wanted.step == 1 else [self[each] for each in wanted]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return next(self._run(range(number, number + 1)))

    def __iter__(self) -> Iterator[Item]:
        for tar, part in enumerate(self._parts):
            yield from self._tar_items(tar, range(len(part)))

    def _run(self, numbers: range) -> Iterator[Item]:
        """Iterate over the items of consecutive numbers."""
        tar = int(np.searchsorted(self._starts, numbers.start, side="right")) - 1
        while tar < len(self._parts) and (first := int(self._starts[tar])) < numbers.stop:
            stop = min(len(self._parts[tar]), numbers.stop - first)
            yield from self._tar_items(tar, range(max(0, numbers.start - first), stop))
            tar += 1

    def keys(self) -> Iterator[str]:
        """Iterate over the keys of all items, without making the items."""
        for name, part in zip(self._names, self._parts, strict=True):
            yield from keys_of_members(part.names(range(len(part))))
            if part.ending is not None:
                yield _ending_key(name)

    def endings(self) -> list[int]:
        """Return the numbers of the items that stand for the unreadable rest of a tar."""
        return [int(end) - 1 for end, part in zip(self._starts[1:], self._parts, strict=True) if part.ending is not None]

    def _tar_items(self, tar: int, places: range) -> Iterator[Item]:
        part, tar_name, first = self._parts[tar], self._names[tar], int(self._starts[tar])
        rows = part.spans[places.start : places.stop].tolist()
        names, unusable = part.names(places), part.unusable
        keys = keys_of_members(names)
        if not "".join(names).isprintable():
            names = list(map(printable, names))
        for place, key, name, (photo, photo_size, json, json_size) in zip(places, keys, names, rows, strict=False):
            problem = unusable.get(place) or self._repeated.get(first + place)
            spans = ((photo, photo_size) if photo >= 0 else None, (json, json_size) if json >= 0 else None)
            yield Item(key, f"{tar_name}/{name}", (tar, *spans), problem)
        if part.ending is not None and len(part) - 1 in places:
            yield Item(_ending_key(tar_name), tar_name, (tar, None, None), part.ending)

    def _find_repeated(self) -> dict[int, str]:
        """Return a problem text for each item, by index, that repeats an earlier key; skips items with other problems."""
        hashes = np.fromiter(map(hash, self.keys()), np.int64, count=len(self))
        suspects = repeated_numbers(hashes)
        first_of: dict[str, str] = {}
        repeated: dict[int, str] = {}
        for number in np.flatnonzero(np.isin(hashes, suspects)).tolist() if len(suspects) else ():
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


def keys_of(items: Sequence[Item]) -> Iterable[str]:
    """Return the keys of items in order; those of tars are not made into items for it."""
    return items.keys() if isinstance(items, TarItems) else (item.key for item in items)


def endings_of(items: Sequence[Item]) -> list[int]:
    """Return the numbers of the items that `is_ending` says yes to."""
    return items.endings() if isinstance(items, TarItems) else [n for n, item in enumerate(items) if is_ending(item)]


def key_of_member(name: str) -> str:
    """Return the key for a member's name without its suffix: its base name, made safe."""
    return safe_key(name.rpartition("/")[2])


def keys_of_members(names: Sequence[str]) -> list[str]:
    """Return the key for each name, as `key_of_member` does; names that are keys already are checked all at once."""
    bases = [name.rpartition("/")[2] for name in names]
    lengths, text = set(map(len, bases)), "\n".join(["", *bases, ""])
    if not bases or not (min(lengths) and max(lengths) <= KEY_LENGTH and PLAIN.fullmatch("".join(bases))):
        return list(map(safe_key, bases))
    return bases if "\n_" not in text and "_\n" not in text else list(map(safe_key, bases))


def _ending_key(tar_name: str) -> str:
    return safe_key(f"{tar_name.removesuffix('.tar')}-end")


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
        self.unusable = self._unusable()

    def __len__(self) -> int:
        return len(self.ends) + (self.ending is not None)

    def names(self, places: range) -> list[str]:
        """Return the names of these pairs; the item for an unreadable end has none."""
        ends = self.ends[places.start : places.stop].tolist()
        start = int(self.ends[places.start - 1]) if places.start else 0
        data, stop = self.text[start : ends[-1] if ends else start], [end - start for end in ends]
        pairs = zip([0, *stop], stop, strict=False)
        if data.isascii():
            text = data.decode("ascii")
            return [text[begin:end] for begin, end in pairs]
        return [data[begin:end].decode("utf-8", "surrogateescape") for begin, end in pairs]

    def _unusable(self) -> dict[int, str]:
        """Return why pairs cannot be used, by place."""
        lacking = (self.spans[:, 0] < 0) | (self.annotated & (self.spans[:, 2] < 0))
        found = {place: NO_PHOTO if self.spans[place, 0] < 0 else NO_JSON for place in np.flatnonzero(lacking).tolist()}
        return found | self.problems
