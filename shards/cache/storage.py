"""Shard storage: a folder, or a URL with a local cache on disk."""

import os
import queue
import threading
from pathlib import Path
from typing import BinaryIO, Protocol

from encoders.errors import InputError
from encoders.files import remedy
from shards.cache import remote
from shards.cache.local_cache import LocalCache
from shards.cache.manifest import Manifest, ShardEntry
from shards.cache.remote import Expected, fetch
from shards.stores.retry import Retry, is_url, join_url


class ShardStore(Protocol):
    """Access to shards by their manifest entries."""

    def where(self, entry: ShardEntry) -> str:
        """Return the shard's name for error messages."""

    def remedy(self, entry: ShardEntry) -> str:
        """Return advice on a damaged shard for error messages."""

    def open(self, entry: ShardEntry) -> int:
        """Open a shard for reading; the caller closes the descriptor. Raises InputError naming the shard."""

    def expect(self, entry: ShardEntry) -> None:
        """Announce that a shard will be opened soon; does not block."""

    def check(self, manifest: Manifest) -> None:
        """Raise InputError if shards are missing or have the wrong size, as far as can be seen without reading them."""


class FolderStore:
    """Shards in a folder, local or shared.

    Args:
        folder: the cache's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def where(self, entry: ShardEntry) -> str:
        return str(self.folder / entry.name)

    def remedy(self, entry: ShardEntry) -> str:
        return f"repair the cache (repvit-sam cache verify {self.folder} --repair)"

    def open(self, entry: ShardEntry) -> int:
        try:
            return os.open(self.folder / entry.name, os.O_RDONLY)
        except OSError as error:
            todo = remedy(error, otherwise="run precompute again")
            raise InputError(f"{self.where(entry)} cannot be opened ({error.strerror}); {todo}") from error

    def expect(self, entry: ShardEntry) -> None:
        pass

    def check(self, manifest: Manifest) -> None:
        manifest.check_files()


class RemoteStore:
    """Shards at a URL. Each is downloaded whole, checked against the manifest and kept in a local cache of bounded size.

    Args:
        url: URL of the cache's folder.
        local: local cache for the downloaded shards.
        shards_in_use: number of shards read at the same time.
        retry: retry policy of downloads.
    """

    def __init__(self, url: str, *, local: LocalCache, shards_in_use: int, retry: Retry | None = None) -> None:
        self.url = url
        self.local = local
        self.shards_in_use = shards_in_use
        self.retry = retry or remote.DEFAULT_RETRY
        self._ahead: _Ahead | None = None

    def where(self, entry: ShardEntry) -> str:
        return join_url(self.url, entry.name)

    def remedy(self, entry: ShardEntry) -> str:
        return f"remove {self.local.whole_path(entry)}, a damaged copy of what was fetched whole"

    def open(self, entry: ShardEntry) -> int:
        descriptor = self.local.open(entry, lambda part: self._fill(entry, part))
        assert descriptor is not None  # it waits
        return descriptor

    def expect(self, entry: ShardEntry) -> None:
        if self._ahead is None:
            self._ahead = _Ahead(self)  # started here, because threads do not survive a fork into a worker
        self._ahead.put(entry)

    def check(self, manifest: Manifest) -> None:
        sizes = sorted((entry.bytes for entry in manifest.entries), reverse=True)
        needed = sum(sizes[: self.shards_in_use + 1])
        if needed > self.local.limit_bytes:
            raise InputError(
                f"the local cache {self.local.folder} may hold {self.local.limit_bytes} bytes, but {self.shards_in_use} shards"
                f" are read side by side and the next one is fetched; give it at least {needed} (data.local_cache_gib)"
            )

    def fetch_ahead(self, entry: ShardEntry) -> None:
        """Fetch a shard if there is room and no other process is fetching it; errors are left for `open` to report."""
        try:
            descriptor = self.local.open(entry, lambda part: self._fill(entry, part), wait=False)
        except (InputError, ImportError, OSError):
            return
        if descriptor is not None:
            os.close(descriptor)

    def _fill(self, entry: ShardEntry, part: BinaryIO) -> None:
        url = self.where(entry)
        what = f"shard {entry.name}"
        expected = Expected(what=what, max_bytes=entry.bytes, size=entry.bytes, sha256=entry.sha256)
        fetch(url, part, expected=expected, retry=self.retry)


def open_store(
    manifest: Manifest, *, local_cache: Path | str | None, local_cache_bytes: int, shards_in_use: int
) -> ShardStore:
    """Return the storage that a manifest's shards are read from.

    Raises:
        InputError: the manifest comes from a URL and no local cache is given, or the local cache cannot be used.
    """
    if not is_url(manifest.folder):
        return FolderStore(Path(manifest.folder))
    if local_cache is None:
        raise InputError(
            f"{manifest.folder} is a URL, so its shards need a folder on a disk of this machine; name one (data.local_cache)"
        )
    local = LocalCache(Path(local_cache), limit_bytes=local_cache_bytes)
    return RemoteStore(str(manifest.folder), local=local, shards_in_use=shards_in_use)


class _Ahead:
    """A daemon thread that prefetches shards one after the other."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        self._asked: set[str] = set()
        self._queue: queue.SimpleQueue[ShardEntry] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, entry: ShardEntry) -> None:
        if entry.name not in self._asked:
            self._asked.add(entry.name)
            self._queue.put(entry)

    def _run(self) -> None:
        while True:
            entry = self._queue.get()
            self._store.fetch_ahead(entry)
            self._asked.discard(entry.name)
