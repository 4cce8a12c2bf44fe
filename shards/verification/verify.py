"""Verification of a whole cache: consistency of its files, every byte of every shard, and samples against the teacher."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from encoders.acceleration import PRECISION_MARK
from encoders.contract import PREPROCESS_VERSION
from encoders.errors import InputError
from encoders.messages.shown import shown
from encoders.messages.words import counted
from encoders.sam import Sam
from shards.cache.files import to_line
from shards.cache.identity import CACHE_FILE, CacheIdentity
from shards.cache.manifest import IDENTITY_FIELDS, MANIFEST_FILE, ShardEntry, manifest_lines, parse_entry
from shards.cache.names import is_shard_name, shard_index, shard_name
from shards.cache.ordered import ordered_map
from shards.codec.records import get_codec
from shards.pipeline.object_stores.mirror import small_files
from shards.pipeline.quarantine import QUARANTINE_FILE, quarantine_lines
from shards.pipeline.work_folder import ENTRY_SUFFIX, WORK, work_entries
from shards.sources.base import Source
from shards.sources.repeats import repeated_keys
from shards.stores.retry import is_url
from shards.verification.findings import Problem, Remedy, VerifyReport
from shards.verification.reading import shard_names, verify_fetched
from shards.verification.shard import verify_shard
from shards.verification.source import verify_source
from shards.verification.teacher import verify_against_teacher

MAX_MISSING = 1000  # shards without a manifest line that are named in the report


def verify(
    folder: Path | str,
    *,
    teacher: Sam | None = None,
    teacher_sha256: str | None = None,
    samples: int = 8,
    seed: int = 0,
    threads: int | None = None,
    source: Source | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Verify a cache without changing it.

    Args:
        teacher: at the cache's image size, in eval mode; None skips the comparison with the teacher.
        teacher_sha256: checksum of its weights.
        samples: number of samples, drawn by `seed` from the intact shards, to compare with the teacher.
        threads: threads that read, hash and decode; by default one per core.
        source: the photos that the cache was made from; None skips the comparison with the source.
        progress: called after every shard with the number of shards done and of all.

    Returns:
        The problems found, if any, and what to rerun.

    Raises:
        InputError: there is no cache.
    """
    cache = str(folder) if is_url(folder) else Path(folder)
    with small_files(cache) as copy:
        return _verify(copy, VerifyReport(cache=cache), teacher, teacher_sha256, samples, seed, threads, source, progress)


def _verify(
    folder: Path,
    report: VerifyReport,
    teacher: Sam | None,
    teacher_sha256: str | None,
    samples: int,
    seed: int,
    threads: int | None,
    source: Source | None,
    progress: Callable[[int, int], None] | None,
) -> VerifyReport:
    """Verify a cache, given the folder of its small files; arguments as in `verify`."""
    if not (folder / CACHE_FILE).is_file() and not (folder / MANIFEST_FILE).is_file():
        raise InputError(f"{folder} holds no cache of teacher embeddings; make one with: repvit-sam precompute")
    identity = _verify_identity(folder, report)
    entries = _verify_manifest(folder, identity, report)
    check = partial(verify_shard, folder)
    if isinstance(report.cache, str):
        check = partial(verify_fetched, url=report.cache, folder=folder)
    checks = ordered_map(
        check, entries, threads=threads or os.cpu_count() or 1, ahead=2 * (os.cpu_count() or 1)
    )
    for number, found in enumerate(checks, start=1):
        report.problems += found
        if progress is not None:
            progress(number, len(entries))
    report.shards, report.photos = len(entries), sum(len(entry.keys) for entry in entries)
    report.bytes = sum(entry.bytes for entry in entries)
    if identity is not None and source is not None:
        verify_source(report, identity, source)
    if identity is not None and teacher is not None:
        if teacher_sha256 is not None and teacher_sha256 != identity.teacher_sha256:
            text = f"the cache was made by teacher {identity.teacher} (sha256 {identity.teacher_sha256}), not by the one"
            report.problems.append(
                Problem(where=CACHE_FILE, problem=f"{text} given (sha256 {teacher_sha256})", remedy=Remedy.AGAIN)
            )
        else:
            verify_against_teacher(report, identity, entries, teacher=teacher, samples=samples, seed=seed)
    return report


def read_usable_lines(folder: Path) -> tuple[dict[str, ShardEntry], list[Problem]]:
    """Return the readable entries of a manifest, by name, and a description of the problems with its lines."""
    entries: dict[str, ShardEntry] = {}
    problems = []
    for number, line in enumerate(manifest_lines(folder), start=1):
        try:
            entry = parse_entry(line)
            if entry.name in entries:
                raise InputError(f"{entry.name} comes twice")
            if to_line(entry.to_json()) != line:
                raise InputError("it is not written as it should be")
            entries[entry.name] = entry
        except InputError as error:
            problems.append(Problem(where=MANIFEST_FILE, problem=f"line {number} cannot be used ({error})"))
    if list(entries) != sorted(entries):
        problems.append(Problem(where=MANIFEST_FILE, problem="its lines are not in order of name"))
    return entries, problems


def _verify_identity(folder: Path, report: VerifyReport) -> CacheIdentity | None:
    """Check `cache.json`, and that this release would produce the same cache."""
    try:
        identity = CacheIdentity.read(folder)
    except InputError as error:
        report.problems.append(Problem(where=CACHE_FILE, problem=str(error)))
        return None
    if identity is None:
        report.problems.append(Problem(where=CACHE_FILE, problem="is missing"))
        return None
    again = partial(Problem, where=CACHE_FILE, remedy=Remedy.AGAIN)
    if identity.preprocess_version.partition(PRECISION_MARK)[0] != PREPROCESS_VERSION:
        text = f"the cache was made under preprocessing {identity.preprocess_version}, this release has {PREPROCESS_VERSION}"
        report.problems.append(again(problem=text))
    try:
        version = get_codec(identity.codec).version
        if version != identity.codec_version:
            text = f"the cache has version {identity.codec_version} of codec {identity.codec}, this release has {version}"
            report.problems.append(again(problem=text))
    except InputError as error:
        report.problems.append(again(problem=str(error)))
    return identity


def _verify_manifest(folder: Path, identity: CacheIdentity | None, report: VerifyReport) -> list[ShardEntry]:
    """Check the manifest for consistency with `cache.json`, the quarantine list and the shard files; return its entries."""
    lines, problems = read_usable_lines(folder)
    report.problems += problems
    unfinished = (folder / WORK).is_dir()
    if unfinished:
        made, damaged = work_entries(folder)
        lines = lines | made
        of = "" if identity is None else f" of {identity.shards}"
        text = f"the cache is unfinished: {len(lines)}{of} shards are there"
        report.problems.append(Problem(where=MANIFEST_FILE, problem=text, remedy=Remedy.GO_ON))
        for name, problem in sorted(damaged.items()):
            where = f"{WORK}/shards/{name}{ENTRY_SUFFIX}"
            text = f"cannot be used ({problem}); precompute makes {name} again"
            report.problems.append(Problem(where=where, problem=text, remedy=Remedy.GO_ON))
    entries = [lines[name] for name in sorted(lines)]
    if identity is not None:
        _verify_entries(identity, entries, report, complete=not unfinished)
    for name in (name for name in shard_names(folder) if name not in lines):
        if identity is None or not _belongs(name, identity):
            text = "no line of the manifest names it; remove it"
            report.problems.append(Problem(where=shown(name), problem=text, remedy=Remedy.BY_HAND))
    if not unfinished:
        _verify_quarantine(folder, entries, report)
    return entries


def _verify_entries(
    identity: CacheIdentity, entries: Sequence[ShardEntry], report: VerifyReport, *, complete: bool
) -> None:
    """Check that each entry agrees with the cache's identity and with the other entries."""
    for name in ("teacher", *IDENTITY_FIELDS):
        there = getattr(identity, name)
        others = {entry.name: value for entry in entries if (value := getattr(entry, name)) != there}
        if len(others) == len(entries) and len(set(others.values())) == 1:
            text = f"{name} is {_shown(there)}, every line of the manifest says {_shown(next(iter(others.values())))}"
            report.problems.append(Problem(where=CACHE_FILE, problem=text))
            continue
        for shard, here in others.items():
            text = f"{name} is {_shown(here)} in the manifest, the cache's is {_shown(there)}"
            report.problems.append(Problem(where=shard, problem=text))
    report.problems += _count_photos(identity, entries)
    for entry in entries:
        if not _belongs(entry.name, identity):
            text = f"names {entry.name}, but the cache has {counted(identity.shards, 'shard')}"
            report.problems.append(Problem(where=MANIFEST_FILE, problem=text))
    if complete:
        report.problems += _missing_lines(identity, {shard_index(entry.name) for entry in entries})
    twice = repeated_keys([entry.keys for entry in entries], count=sum(len(entry.keys) for entry in entries))
    report.problems += [
        Problem(where=entry.name, key=key, problem="the manifest has this key more than once")
        for entry in entries
        for key in entry.keys
        if key in twice
    ]


def _count_photos(identity: CacheIdentity, entries: Sequence[ShardEntry]) -> Iterator[Problem]:
    """Check that each entry accounts for the right number of photos, good and bad; the last shard may have fewer."""
    size, last = identity.samples_per_shard, shard_name(identity.shards - 1)
    counts = {entry.name: len(entry.keys) + len(entry.quarantined) for entry in entries}
    before = {count for name, count in counts.items() if name != last}
    if len(before) == 1 and size not in before and len(counts) > 2:
        text = f"samples_per_shard is {size}, every line of the manifest but the last accounts for {before.pop()} photos"
        yield Problem(where=CACHE_FILE, problem=text)
        return
    for entry in entries:
        if (problem := miscounted(entry, identity)) is not None:
            yield Problem(where=entry.name, problem=problem)


def miscounted(entry: ShardEntry, identity: CacheIdentity) -> str | None:
    """Describe an entry's wrong number of photos, good and bad; None if it is right. The last shard may have fewer."""
    count, size = len(entry.keys) + len(entry.quarantined), identity.samples_per_shard
    short = entry.name == shard_name(identity.shards - 1) and 0 < count < size
    return None if count == size or short else f"the manifest accounts for {count} photos of {size}"


def _missing_lines(identity: CacheIdentity, there: set[int]) -> Iterator[Problem]:
    """Report shards without a manifest line; only the first thousand are named."""
    missing = (index for index in range(identity.shards) if index not in there)
    for index in islice(missing, MAX_MISSING):
        yield Problem(where=shard_name(index), problem="no line of the manifest names it")
    left = identity.shards - len({index for index in there if index < identity.shards}) - MAX_MISSING
    if left > 0:
        yield Problem(where=MANIFEST_FILE, problem=f"names none of {left} more shards that {CACHE_FILE} counts")


def _belongs(name: str, identity: CacheIdentity) -> bool:
    """Return whether a name is that of one of the cache's shards."""
    return is_shard_name(name) and shard_index(name) < identity.shards


def _shown(value: object) -> str:
    return shown(str(value))


def _verify_quarantine(folder: Path, entries: Sequence[ShardEntry], report: VerifyReport) -> None:
    path = folder / QUARANTINE_FILE
    lines = quarantine_lines((entry.name, entry.quarantined) for entry in entries)
    expected = b"".join(to_line(line) for line in lines)
    there = path.stat().st_size if path.is_file() else 0
    if there != len(expected) or (expected and path.read_bytes() != expected):
        text = "does not name the photos that the manifest says were left out"
        report.problems.append(Problem(where=QUARANTINE_FILE, problem=text))
