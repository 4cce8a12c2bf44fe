"""Selecting part of a source: a share of its photos by key hash, or a list of names."""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from encoders.errors import InputError
from encoders.files import read_bounded
from shards.sources.base import Item, Photo, Source, printable
from shards.sources.tar_items import endings_of, is_ending, keys_of

MAX_LIST_BYTES = 1 << 30  # 11 million names are 200 MB
NAMED = 3  # unknown names listed in an error


@dataclass(frozen=True)
class Subset:
    """A share of photos, chosen by hashing each key with a seed: `1%@seed=0`.

    A photo is in it if the first 8 bytes of sha256("SEED:KEY"), as a big-endian number, are below share * 2^64. The
    choice therefore stays the same when photos are added or reordered, and the 1 % of a seed are part of its 2 %.

    Attributes:
        percent: the share as the user wrote it, e.g. "0.5".
        seed: a different seed selects different photos.
        kind: "sa1b", "folder" or "coco" if the specification began with it, else None.
    """

    percent: str
    seed: int = 0
    kind: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Subset":
        """Parse `1%@seed=0`, `0.5%` (seed 0) or `sa1b:1%@seed=0`. Raises InputError for anything else."""
        match = re.fullmatch(r"(?:(sa1b|folder|coco):)?(\d+(?:\.\d+)?)%(?:@seed=(\d+))?", text.strip())
        if match is None or not 0 < float(match[2]) <= 100:
            raise InputError(f"subset {text!r} is invalid; expected a share of more than 0 % with a seed, e.g. 1%@seed=0")
        return cls(match[2], int(match[3] or 0), match[1])

    def __str__(self) -> str:
        return f"{self.percent}%@seed={self.seed}"

    def __contains__(self, key: str) -> bool:
        return bool(self.numbers([key]))

    def numbers(self, keys: Iterable[str]) -> list[int]:
        """Return the numbers of the keys in it, counted from 0."""
        start, limit, sha256 = f"{self.seed}:", math.ceil(float(self.percent) / 100 * 2**64), hashlib.sha256
        digests = (sha256((start + key).encode()).digest()[:8] for key in keys)
        return [number for number, digest in enumerate(digests) if int.from_bytes(digest, "big") < limit]


class Selection(Source):
    """Selected photos of a source, in its order. Items that stand for unreadable ends of tars are kept.

    Args:
        source: where the photos come from.
        subset: the share to take; all when None.
        names: keys or file names to take, with or without suffix; all when None.
        label: how the list of names appears in the source's name.

    Raises:
        InputError: the subset is for another kind of source, a name matches no photo, or no photo is left.
    """

    def __init__(
        self, source: Source, *, subset: Subset | None = None, names: Sequence[str] | None = None, label: str = "names"
    ) -> None:
        kind = source.name.partition(":")[0]
        if subset is not None and subset.kind not in (None, kind):
            raise InputError(f"subset {subset.kind}:{subset} is of {subset.kind}, but the source is {source.name}")
        self.source = source
        self.subset = subset
        self.names = names
        parts = [source.name, *([label] if names is not None else []), *([str(subset)] if subset is not None else [])]
        self.name = ":".join(parts)
        if not any(item.problem is None for item in self.items()):
            raise InputError(f"{self.name} holds no usable photo; {source.name} has {len(source.items())}")

    @cached_property
    def _items(self) -> Sequence[Item]:
        return self.list_items()

    def list_items(self) -> Sequence[Item]:
        """Return the selected items in the order of the source."""
        items = self.source.items()
        numbers = None if self.names is None else np.asarray(_find(self.source, self.names), np.int64)
        if self.subset is None:
            return _Chosen(items, np.arange(len(items)) if numbers is None else numbers)
        if numbers is None:
            return _Chosen(items, np.union1d(self.subset.numbers(keys_of(items)), endings_of(items)).astype(np.int64))
        named = [items[number] for number in numbers.tolist()]
        return _Chosen(items, numbers[[item.key in self.subset or is_ending(item) for item in named]])

    def item_bytes(self, item: Item) -> int:
        """See `Source.item_bytes`; the source answers."""
        return self.source.item_bytes(item)

    def key_of(self, name: str) -> str:
        """See `Source.key_of`; the source answers."""
        return self.source.key_of(name)

    def read_photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read one photo from the source."""
        return self.source.photo(item, long_side=long_side)


class _Chosen(Sequence[Item]):
    """A lazy selection of a sequence's items by index."""

    def __init__(self, items: Sequence[Item], numbers: np.ndarray) -> None:
        self._items = items
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        chosen = self._numbers[number]
        if isinstance(number, slice):
            return [self._items[each] for each in chosen.tolist()]
        return self._items[int(chosen)]


def read_names(path: Path | str) -> list[str]:
    """Read the non-blank lines of a text file.

    Raises:
        InputError: the file is missing, is not UTF-8 text, or has no lines.
    """
    try:
        text = read_bounded(Path(path), max_bytes=MAX_LIST_BYTES, name=str(path)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; expected one name per line") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path} is empty; expected one name per line")
    return names


def _find(source: Source, names: Sequence[str]) -> list[int]:
    """Return the indices of the items with these names and of the items for unreadable ends of tars, in order."""
    spellings = {name: (name, source.key_of(name)) for name in names}
    wanted = {spelling for pair in spellings.values() for spelling in pair}
    by_where: dict[str, int] = {}
    by_key: dict[str, int] = {}
    chosen = set()
    for number, item in enumerate(source.items()):
        if item.where in wanted:
            by_where.setdefault(item.where, number)
        if item.key in wanted:
            by_key.setdefault(item.key, number)
        if is_ending(item):
            chosen.add(number)
    unknown = []
    for name, (exact, key) in spellings.items():
        found = by_where.get(exact, by_key.get(exact, by_key.get(key)))
        if found is None:
            unknown.append(printable(name))
        else:
            chosen.add(found)
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise InputError(
            f"{source.name} has no photo named {', '.join(unknown[:NAMED])}{more}; expected keys or file names, e.g."
            f" {source.items()[0].where}"
        )
    return sorted(chosen)
