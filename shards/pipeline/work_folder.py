"""Shared state of an unfinished cache, kept in its folder `work/` and removed when the cache is complete.

    work/lock                   locked by a call that works alone, see `shards.pipeline.lead`
    work/shards/NAME.json       the manifest line of a finished shard, see `shards.pipeline.publishing`
    work/processes/OWNER.jsonl  one process's journal: one line per finished shard, with the photos left out of it

A process lists the folder at its start and at its end, and reads other processes' results incrementally from their journals,
so neither the whole folder nor the manifest is read for each shard. Earlier releases also kept leases here (`NAME.G.lease`),
which are not read any more.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from encoders.errors import InputError, InputWarning
from encoders.files import read_bounded
from encoders.untrusted import parse_json
from shards.cache.fields import BadPhoto, ShardName, checked
from shards.cache.files import new_lines
from shards.cache.identity import CacheIdentity
from shards.cache.manifest import MAX_LINE_BYTES, ShardEntry, contradiction, parse_entry, read_entries
from shards.cache.names import is_shard_name, shard_index, shard_name
from shards.cache.ordered import ordered_map
from shards.pipeline.shard_plan import finished

WORK = "work"
ENTRY_SUFFIX = ".json"

READ_THREADS = 8  # threads that read small files; over a network the latency dominates

Bad = Sequence[Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class JournalLine:
    """One line of a journal: a finished shard and the photos left out of it."""

    shard: ShardName
    quarantined: tuple[BadPhoto, ...]


class Board:
    """One process's view of the shared state of an unfinished cache.

    Args:
        folder: the cache.
        shards: number of shards of the complete cache.

    Attributes:
        done: numbers of the shards known to be finished.
        known: those and the ones listed in journals; used for counting.

    Raises:
        FileNotFoundError: here and in every method: the work folder is gone, because the cache was finished.
    """

    def __init__(self, folder: Path, *, shards: int) -> None:
        self._folder = folder
        self._shards = shards
        for path in (_entry_folder(folder), journal_folder(folder)):
            path.mkdir(parents=True, exist_ok=True)
        self._read: dict[str, int] = {}  # bytes read so far of each journal
        # Read the work folder before the manifest: when the folder is removed, the manifest has already been written.
        listed = self._listed()
        self._before = finished(folder, read_entries(folder))
        self.done = listed | {index for index in map(shard_index, self._before) if index < shards}
        self.known = set(self.done)

    def missing(self) -> list[int]:
        """Return the numbers of the shards that are not finished, as far as is known, in order."""
        return [index for index in range(self._shards) if index not in self.done]

    def look_again(self) -> None:
        """List the finished shards again, to see those of other processes."""
        self.done |= self._listed()
        self.known |= self.done

    def news(self) -> Iterator[tuple[int, Bad]]:
        """Return (number, photos left out) of each shard newly found to be finished since the last call."""
        for name, entry in self._before.items():
            yield shard_index(name), entry.quarantined
        self._before = {}
        for journal in sorted(os.scandir(journal_folder(self._folder)), key=lambda found: found.name):
            start = self._read.get(journal.name, 0)
            if journal.is_file() and journal.stat().st_size > start:
                lines, self._read[journal.name] = new_lines(Path(journal.path), start=start)
                for line in lines:
                    found = _read_news(line, path=journal.path)
                    if found is not None and shard_index(found.shard) < self._shards:
                        self.known.add(shard_index(found.shard))
                        yield shard_index(found.shard), found.quarantined

    def reopen(self, missing: set[int]) -> None:
        """Mark shards that are missing or differ from their entries to be made again."""
        for index in missing:
            entry_path(self._folder, index).unlink(missing_ok=True)
        self.done -= missing
        self.known -= missing

    def _listed(self) -> set[int]:
        indexes = (shard_index(path.stem) for path in _entries_in(_entry_folder(self._folder)))
        return {index for index in indexes if index < self._shards}


def entry_path(folder: Path, index: int) -> Path:
    """Return the file of a finished shard's entry."""
    return _entry_folder(folder) / f"{shard_name(index)}{ENTRY_SUFFIX}"


def journal_folder(folder: Path) -> Path:
    """Return the folder of the processes' journals."""
    return folder / WORK / "processes"


def _entry_folder(folder: Path) -> Path:
    return folder / WORK / "shards"


def known_entries(folder: Path) -> dict[str, ShardEntry]:
    """Return the entries of all shards on disk at their full size, whether or not the manifest has been written.

    A damaged entry of an unfinished cache is skipped with an InputWarning; precompute makes its shard again.
    """
    lines, damaged = work_entries(folder)  # before the manifest, see Board
    for name, problem in damaged.items():
        text = f"{folder / WORK / 'shards' / name}{ENTRY_SUFFIX} cannot be read ({problem}); precompute makes {name} again"
        warnings.warn(text, InputWarning, stacklevel=2)
    return finished(folder, ({entry.name: entry for entry in read_entries(folder)} | lines).values())


def work_entries(folder: Path) -> tuple[dict[str, ShardEntry], dict[str, str]]:
    """Return an unfinished cache's entries that are not in its manifest yet, and the problems of invalid ones, by shard.

    An entry is invalid if it cannot be read or contradicts `cache.json`.

    Raises:
        FileNotFoundError: the cache was finished meanwhile.
    """
    if not (folder / WORK).is_dir():
        return {}, {}
    identity = None
    with suppress(InputError):  # callers that need it report the error
        identity = CacheIdentity.read(folder)
    paths = _entries_in(_entry_folder(folder))
    read = partial(_read_entry, identity=identity)
    found = list(ordered_map(read, paths, threads=READ_THREADS, ahead=8 * READ_THREADS))
    return (
        {entry.name: entry for entry in found if isinstance(entry, ShardEntry)},
        {path.stem: str(problem) for path, problem in zip(paths, found, strict=True) if isinstance(problem, InputError)},
    )


def _read_entry(path: Path, *, identity: CacheIdentity | None) -> ShardEntry | InputError:
    """Read an entry from a file of the work folder; return the reason as text if it cannot be used."""
    try:
        content = read_bounded(path, max_bytes=MAX_LINE_BYTES, name="it")
        if not content.endswith(b"\n"):
            raise InputError(f"it is cut off after {len(content)} bytes")
        entry = parse_entry(content)
        if entry.name != path.stem:
            raise InputError(f"it is the entry of {entry.name}")
        if identity is not None and (problem := contradiction(entry, identity)) is not None:
            raise InputError(problem)
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        return error
    return entry


def _read_news(line: bytes, *, path: str) -> JournalLine | None:
    """Parse a journal line; for a damaged one warn and return None, as its shard is counted at the end."""
    try:
        return checked(JournalLine, parse_json(line, name="it"))
    except InputError as error:
        text = f"{path} has a damaged line ({error}); photos that it leaves out are counted when the cache is complete"
        warnings.warn(text, InputWarning, stacklevel=2)
        return None


def _entries_in(folder: Path) -> list[Path]:
    """Return the files named like a shard's entry, unordered."""
    paths = (Path(found.path) for found in os.scandir(folder) if found.name.endswith(ENTRY_SUFFIX))
    return [path for path in paths if is_shard_name(path.stem)]
