"""Reading the shards of a cache that may be at a URL: each is downloaded, and no more are kept than are in use."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoders.errors import InputError
from shards.cache.local_cache import LocalCache
from shards.cache.manifest import Manifest, ShardEntry
from shards.cache.remote import Expected, fetch
from shards.cache.shard_reader import ShardReader
from shards.cache.storage import RemoteStore
from shards.pipeline.object_stores.stored import stored_sizes
from shards.stores.retry import DEFAULT_RETRY, is_url, join_url
from shards.verification.findings import Problem, Remedy
from shards.verification.shard import verify_shard


@contextmanager
def opened_reader(manifest: Manifest) -> Iterator[ShardReader]:
    """Open the shards of a cache in a folder or at a URL, to be read one after another."""
    if not is_url(manifest.folder) or not manifest.entries:
        yield ShardReader(manifest)
        return
    with tempfile.TemporaryDirectory() as folder:
        local = LocalCache(Path(folder), limit_bytes=2 * max(entry.bytes for entry in manifest.entries))
        reader = ShardReader(manifest, store=RemoteStore(str(manifest.folder), local=local, shards_in_use=1))
        try:
            yield reader
        finally:
            reader.close()


def shard_names(folder: Path) -> list[str]:
    """Return the names of all shards that are there, sorted, whether or not the manifest names them."""
    stored = stored_sizes(folder)
    return sorted(path.name for path in folder.glob("train-*.tar")) if stored is None else sorted(stored)


def verify_fetched(entry: ShardEntry, *, url: str, folder: Path) -> list[Problem]:
    """Download a shard into the folder of a cache's small files, verify it there, and remove it."""
    size = (stored_sizes(folder) or {}).get(entry.name)
    if size is None:
        return [Problem(where=entry.name, problem="is missing")]
    if size > 2 * entry.bytes:
        return [Problem(where=entry.name, problem=f"has grown: {size} bytes, the manifest says {entry.bytes}")]
    path = folder / entry.name
    try:
        with path.open("w+b") as file:
            expected = Expected(what=f"shard {entry.name}", max_bytes=size, size=size)
            fetch(join_url(url, entry.name), file, expected=expected, retry=DEFAULT_RETRY)
        return verify_shard(folder, entry)
    except InputError as error:
        return [Problem(where=entry.name, problem=f"cannot be read ({error})", remedy=Remedy.BY_HAND)]
    finally:
        path.unlink(missing_ok=True)
