"""Inspection of a photo source without a teacher: a plan of the precompute and a list of unusable photos."""

import json
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.files import check_output_folder
from encoders.local_folder import check_local_folder
from shards.cache.files import append_line, atomic_writer, read_lines
from shards.cache.identity import CACHE_FILE
from shards.cache.kept import kept
from shards.cache.stored_photo import BadSample
from shards.pipeline.quarantine import Quarantine
from shards.pipeline.shard_plan import shard_count, shard_name
from shards.sources.base import Item, Source
from shards.sources.pool import worker_pool
from shards.sources.tar_items import is_ending

PLAN_FILE = "plan.json"
CHECKED_FILE = "checked.jsonl"  # records which photos were decoded, so that an interrupted call can resume
CHUNK = 500  # photos per line of that file


@dataclass(frozen=True, kw_only=True)
class IngestPlan:
    """Summary of a source's content.

    Attributes:
        source, source_sha256: its name, and the checksum of its listing.
        photos: number of photos, good and bad.
        bad, bad_allowed: unusable photos found, and how many are allowed.
        decoded: whether every photo was decoded and every mask checked, or only the listing was read.
        bytes: total size of the photos and, in tars, of their annotations.
        damaged_tars: tars that cannot be read to their end; the number of photos after that point is unknown.
        samples_per_shard, shards: of the cache that a precompute would make.
    """

    source: str
    source_sha256: str
    photos: int
    bad: int
    bad_allowed: int
    decoded: bool
    bytes: int
    damaged_tars: tuple[str, ...]
    samples_per_shard: int
    shards: int


def ingest(
    source: Source,
    *,
    out: Path | str,
    decode: bool = False,
    processes: int = 1,
    samples_per_shard: int = 1000,
    max_bad_fraction: float = 0.01,
    progress: Callable[[int, int], None] | None = None,
) -> IngestPlan:
    """Write `plan.json` and `quarantine.jsonl` to `out`, which may be the folder that the cache is to be made in.

    Args:
        source: where the photos come from.
        decode: decode every photo and check every mask, as a precompute would; a killed call is resumed.
        processes: number of processes that decode.
        samples_per_shard: of the precompute; the quarantine list names the shards that it will make.
        max_bad_fraction: see `shards.precompute`.
        progress: called with the number of photos decoded and of all photos.

    Raises:
        InputError: `out` is a URL, cannot be written to (what was checked is kept) or holds a cache; too many photos are bad
            (the first few are named; plan and list are written); or decoding a photo crashed a process.
    """
    out = check_local_folder(out, name="out")
    if min(samples_per_shard, processes) < 1:
        raise InputError(f"samples_per_shard={samples_per_shard} and processes={processes}: expected at least 1 of each")
    if (out / CACHE_FILE).exists():
        raise InputError(f"{out} holds a cache, whose quarantine list is its own; give another folder")
    quarantine = Quarantine(out, total=len(source.items()), max_bad_fraction=max_bad_fraction)
    with kept(out, what="what was checked is kept"):
        check_output_folder(out)
        identity = source.identity()
        size, listed = _look_through(source)
        bad = _bad_photos(source, identity, out, processes, progress) if decode else map(_numbered, listed)
        by_shard: dict[str, list[dict[str, str]]] = {}
        for number, sample in bad:
            by_shard.setdefault(shard_name(number // samples_per_shard), []).append(sample)
        for shard, samples in by_shard.items():
            quarantine.finished(shard, samples)
        quarantine.write()
        plan = IngestPlan(
            source=source.name,
            source_sha256=identity,
            photos=len(source.items()),
            bad=quarantine.count,
            bad_allowed=quarantine.allowed,
            decoded=decode,
            bytes=size,
            damaged_tars=tuple(item.where for _, item in listed if is_ending(item)),
            samples_per_shard=samples_per_shard,
            shards=shard_count(source, samples_per_shard),
        )
        with atomic_writer(out / PLAN_FILE) as file:
            file.write(json.dumps(asdict(plan), indent=1, sort_keys=True).encode() + b"\n")
    quarantine.check()
    return plan


Numbered = tuple[int, dict[str, str]]  # number of the item, and the `key`, `where` and `reason` of a bad one


def _look_through(source: Source) -> tuple[int, list[tuple[int, Item]]]:
    """Return the bytes of all items, and the unusable ones with their numbers, in one pass: SA-1B's takes half a minute."""
    size, bad = 0, []
    for number, item in enumerate(source.items()):
        size += source.item_bytes(item)
        if item.problem is not None:
            bad.append((number, item))
    return size, bad


def _numbered(listed: tuple[int, Item]) -> Numbered:
    """Return an unusable item in the format of a precompute's quarantine list."""
    number, item = listed
    return number, vars(BadSample(key=item.key, where=item.where, reason=f"{item.where}: {item.problem}"))


def _bad_photos(
    source: Source, identity: str, out: Path, processes: int, progress: Callable[[int, int], None] | None
) -> list[Numbered]:
    """Return the unusable photos found by decoding; each finished chunk is appended to the file as a line."""
    total = len(source.items())
    path = out / CHECKED_FILE
    header = {"source_sha256": identity, "chunk": CHUNK}
    checked = _read_checked(path, header)
    if not checked:
        path.unlink(missing_ok=True)
        append_line(path, header)
    missing = [start for start in range(0, total, CHUNK) if start not in checked]
    global _source
    _source = source
    try:
        with worker_pool(processes) as pool:
            for start, bad in zip(missing, pool.map(_check_chunk, missing), strict=True):
                append_line(path, {"start": start, "bad": bad})
                checked[start] = bad
                if progress is not None:
                    progress(min(CHUNK * len(checked), total), total)
    except BrokenProcessPool as error:
        first = next(start for start in missing if start not in checked)
        places = [source.items()[n].where for n in (first, min(total, first + processes * CHUNK) - 1)]
        raise InputError(
            f"a decoder was brought down (or killed for its memory) by a photo from {places[0]} to {places[1]}; what was"
            " checked is kept: run again with --processes 1 to see, or leave these photos out"
        ) from error
    finally:
        _source = None
    return [(number, sample) for start in sorted(checked) for number, sample in checked[start]]


def _read_checked(path: Path, header: dict[str, Any]) -> dict[int, list[Numbered]]:
    """Read the bad photos of each finished chunk, by the chunk's start; empty if the file belongs to another source."""
    try:
        lines, _ = read_lines(path)
        return {line["start"]: line["bad"] for line in lines[1:]} if lines[0] == header else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


_source: Source | None = None  # read by the forked processes, so that a listing of millions need not be sent to them


def _check_chunk(start: int) -> list[Numbered]:
    """Decode photos `start` to `start + CHUNK`; return the bad ones among them."""
    assert _source is not None
    bad = []
    for number, item in enumerate(_source.items()[start : start + CHUNK], start=start):
        try:
            _source.photo(item)
        except InputError as error:
            bad.append((number, vars(BadSample(key=item.key, where=item.where, reason=str(error)))))
    return bad
