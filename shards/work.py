"""The plan of a precompute: which photos make which shard, and what of it is done.

A shard is a run of consecutive items of the source, a pure function of the source's listing and of
`samples_per_shard`. Both are part of `cache.json`, so a changed source or size is refused, never mixed in.
"""

from collections.abc import Iterable
from pathlib import Path

from encoders.errors import InputError
from shards.files import TEMPORARY_SUFFIX
from shards.identity import CacheIdentity
from shards.manifest import ShardEntry
from shards.source import Item, Source


def shard_name(index: int) -> str:
    """0 -> "train-000000.tar"."""
    return f"train-{index:06d}.tar"


def shard_count(source: Source, samples_per_shard: int) -> int:
    """Number of shards of a source."""
    return -(-len(source.items()) // samples_per_shard)


def shard_items(source: Source, samples_per_shard: int, index: int) -> list[Item]:
    """The items of shard `index`, in order."""
    return source.items()[index * samples_per_shard : (index + 1) * samples_per_shard]


def begin(folder: Path, wanted: CacheIdentity) -> CacheIdentity:
    """Begin the cache in `folder`, or go on with the one begun there.

    Returns:
        The identity to write into the manifest: that of the first call, whose name for the teacher holds.

    Raises:
        InputError: what is there was made by or from something else, or the folder holds other files.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; the cache needs a folder")
    made = CacheIdentity.read(folder)
    if made is not None:
        wanted.check_same(made, folder=folder)
        return made
    if folder.is_dir() and any(folder.glob("train-*.tar")):
        raise InputError(f"{folder} holds shards but no cache.json, so nobody knows their teacher; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    wanted.write(folder)
    return wanted


def clear_leftovers(folder: Path, *, shards: int, rank: int, world_size: int) -> None:
    """Remove temporary files that a killed call left: those of this rank's shards, and of the cache's own files."""
    names = [shard_name(index) for index in range(rank, shards, world_size)]
    mine = set(names) | ({"cache.json", "manifest.jsonl", "quarantine.jsonl"} if rank == 0 else set())
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        if path.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")[0] in mine:
            path.unlink(missing_ok=True)


def finished(folder: Path, entries: Iterable[ShardEntry]) -> dict[str, ShardEntry]:
    """Entries whose shard is on disk at its full size, by name; any other shard is made again."""
    done = {}
    for entry in entries:
        path = folder / entry.name
        if path.is_file() and path.stat().st_size == entry.bytes:
            done[entry.name] = entry
    return done
