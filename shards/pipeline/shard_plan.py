"""Assignment of photos to shards in a precompute, and detection of finished shards.

A shard is a run of consecutive items of the source, a pure function of the source's listing and of
`samples_per_shard`. Both are part of `cache.json`, so a changed source or size is refused, never mixed in.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from encoders.errors import InputError
from shards.cache.files import TEMPORARY_SUFFIX
from shards.cache.identity import CacheIdentity
from shards.cache.manifest import ShardEntry
from shards.cache.names import shard_index as shard_index  # re-exported
from shards.cache.names import shard_name as shard_name
from shards.pipeline.object_stores.stored import stored_sizes
from shards.sources.base import Item, Source

OUR_FILES = ("train-", "cache.json", "config.yaml", "manifest.jsonl", "quarantine.jsonl", "work")


def shard_count(source: Source, samples_per_shard: int) -> int:
    """Return the number of shards of a source."""
    return -(-len(source.items()) // samples_per_shard)


def shard_items(source: Source, samples_per_shard: int, index: int) -> Sequence[Item]:
    """Return the items of shard `index`, in order."""
    return source.items()[index * samples_per_shard : (index + 1) * samples_per_shard]


def photos_in(shards: Collection[int], *, total: int, identity: CacheIdentity) -> int:
    """Count the photos, good and bad, in these shards of a source of `total` photos; the last shard may be shorter."""
    lacking = identity.shards * identity.samples_per_shard - total
    return len(shards) * identity.samples_per_shard - (lacking if identity.shards - 1 in shards else 0)


def begin(folder: Path, wanted: CacheIdentity) -> CacheIdentity:
    """Begin the cache in `folder`, or continue the one that was begun there.

    Returns:
        The identity to write into the manifest: that of the first call, including the name it gave the teacher.

    Raises:
        InputError: the folder holds a cache with another identity, or other files.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; the cache needs a folder")
    made = CacheIdentity.read(folder)
    if made is None:
        if folder.is_dir() and any(folder.glob("train-*.tar")):
            raise InputError(
                f"{folder} holds shards but no cache.json, so their teacher is unknown; give another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        wanted.write(folder)
        made = CacheIdentity.read(folder) or wanted  # another process may have written it first
    wanted.check_same(made, folder=folder)
    return made


def clear_leftovers(folder: Path, *, before: float) -> None:
    """Remove temporary files and folders of killed calls, if not modified since `before`.

    Args:
        before: seconds by the file system's clock.
    """
    with os.scandir(folder) as found:
        ours = [f for f in found if f.name.endswith(TEMPORARY_SUFFIX) and f.name.startswith(OUR_FILES)]
        old = [Path(f.path) for f in ours if _is_older(f, before)]
    for path in old:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_older(found: "os.DirEntry[str]", before: float) -> bool:
    try:
        return found.stat().st_mtime < before
    except FileNotFoundError:  # renamed or removed in the meantime
        return False


def finished(folder: Path, entries: Iterable[ShardEntry]) -> dict[str, ShardEntry]:
    """Return the entries, by name, whose shard is there at its full size; any other shard is made again.

    Args:
        folder: of the cache; or the scratch folder of one in an object store, which says what is there.
    """
    done = {}
    stored = stored_sizes(folder)
    for entry in entries:
        if stored is not None:
            if stored.get(entry.name) == entry.bytes:
                done[entry.name] = entry
            continue
        path = folder / entry.name
        if path.is_file() and path.stat().st_size == entry.bytes:
            done[entry.name] = entry
    return done
