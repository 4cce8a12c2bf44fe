"""Repair of a cache: remove what is damaged, so that a precompute makes only that again."""

import tempfile
from dataclasses import replace
from pathlib import Path

from encoders.errors import InputError
from shards.cache.identity import CACHE_FILE, CacheIdentity
from shards.cache.manifest import IDENTITY_FIELDS, MANIFEST_FILE, ShardEntry, write_manifest
from shards.cache.names import shard_index
from shards.pipeline.object_stores.mirror import Mirror
from shards.stores.objects import open_objects
from shards.verification.findings import Remedy, VerifyReport
from shards.verification.verify import miscounted, read_usable_lines


def clear_damaged(report: VerifyReport, *, wanted: CacheIdentity) -> dict[str, str]:
    """Remove what a verification found damaged, so that `precompute` makes only that again.

    Shards are removed before their manifest lines, so that precompute can complete the cache after a kill in between.

    Args:
        wanted: identity of the cache that the following precompute would make; must match this cache.

    Returns:
        The manifest's sha256 of each shard, by name, to compare the new shards with.

    Raises:
        InputError: the damage cannot be repaired this way, or the precompute would make another cache.
    """
    if isinstance(report.cache, Path):
        return _clear(report.cache, report, wanted)
    with tempfile.TemporaryDirectory() as folder:
        mirror = Mirror(open_objects(report.cache), Path(folder))
        mirror.pull()
        before = _clear(mirror.folder, report, wanted)
        mirror.forget(report.damaged)
        mirror.push(CACHE_FILE)
        mirror.push(MANIFEST_FILE)
    return before


def _clear(folder: Path, report: VerifyReport, wanted: CacheIdentity) -> dict[str, str]:
    """Remove what is damaged from a cache's folder; arguments as in `clear_damaged`."""
    if any(problem.remedy is Remedy.AGAIN for problem in report.problems):
        raise InputError(f"{report.cache} cannot be repaired: {report.problems[0]}; {report.rerun}")
    by_hand = [p for p in report.problems if p.where == CACHE_FILE and p.remedy is Remedy.BY_HAND]
    if by_hand:
        raise InputError(f"{report.cache} cannot be repaired: {by_hand[0]}")
    entries, _ = read_usable_lines(folder)
    damaged = set(report.damaged)
    if any(problem.where == CACHE_FILE for problem in report.problems):
        _restore_identity(folder, wanted, others=[e for e in entries.values() if e.name not in damaged])
    made = CacheIdentity.read(folder)
    if made is not None:
        wanted.check_same(made, folder=report.cache)
    for name in sorted(damaged):
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise InputError(f"{folder / name} is a folder where a shard belongs; move it away, then repair again")
    for name in sorted(damaged):  # checked by `shards.cache.names`, so the path stays within the cache
        (folder / name).unlink(missing_ok=True)
    kept = [e for e in entries.values() if e.name not in damaged and shard_index(e.name) < wanted.shards]
    write_manifest(folder, kept)
    return {entry.name: entry.sha256 for entry in entries.values()}


def _restore_identity(folder: Path, wanted: CacheIdentity, *, others: list[ShardEntry]) -> None:
    """Write `cache.json` again from the entries of the intact shards."""
    for entry in others:
        for name in IDENTITY_FIELDS:
            if getattr(entry, name) != getattr(wanted, name):
                raise InputError(
                    f"{folder / CACHE_FILE} cannot be restored: {name} of {entry.name} is {getattr(entry, name)}, the"
                    f" precompute would make {getattr(wanted, name)}"
                )
        if (problem := miscounted(entry, wanted)) is not None:
            raise InputError(f"{folder / CACHE_FILE} cannot be restored: {entry.name}: {problem}")
    (folder / CACHE_FILE).unlink(missing_ok=True)
    replace(wanted, teacher=others[0].teacher if others else wanted.teacher).write(folder)
