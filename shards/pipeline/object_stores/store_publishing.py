"""Publishing finished shards in an object store, by any number of processes, so that the first one counts.

A shard is uploaded and compared, then its entry is created. Whatever a killed upload leaves has no entry and never counts.
Two processes that upload the same shard at the same time have the same bytes, except on different kinds of machines: then the
entry is made that of the bytes that are there, which are compared once more after it. A shard whose entry describes other bytes
loses the entry and is made again.
"""

from shards.cache.files import to_line
from shards.cache.manifest import MAX_LINE_BYTES
from shards.pipeline.made_shard import MadeShard
from shards.pipeline.object_stores.mirror import BEGUN, Mirror, entry_name


class StorePublisher:
    """Publishes shards of an unfinished cache in an object store.

    Args:
        mirror: the cache.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror, self._store = mirror, mirror.store

    def publish(self, made: MadeShard) -> bool:
        """Publish a shard, then remove it here; return False if another process has published one of this number.

        Raises:
            FileNotFoundError: the cache was finished meanwhile.
            InputError: the store refuses or keeps failing.
        """
        try:
            return self._claim(made)
        finally:
            made.discard()

    def _claim(self, made: MadeShard) -> bool:
        entry, shard = entry_name(made.index), made.entry.name
        if self._store.size(entry) is not None:
            return False
        self._check_unfinished()
        if not self._store.upload(shard, made.temporary, replace=False):
            # A file without an entry: a killed process left it, or another one is about to publish it
            if self._store.size(entry) is not None:
                return False
            self._store.upload(shard, made.temporary)
        line = to_line(made.entry.to_json())
        ours = self._store.create(entry, line)
        if not ours and not self._says(entry, line) and self._store.same(shard, made.temporary):
            self._store.put(entry, line)
            ours = True
        if ours and not self._store.same(shard, made.temporary):
            # Another process has replaced the file since, and may be killed before it says so
            if self._says(entry, line):
                self._store.delete([entry])
            ours = False
        self._check_unfinished(entry)
        return ours

    def _says(self, entry: str, line: bytes) -> bool:
        return self._store.read(entry, max_bytes=MAX_LINE_BYTES) == line

    def _check_unfinished(self, entry: str | None = None) -> None:
        """Raise FileNotFoundError, after removing an entry that came too late, if another process has finished the cache."""
        if self._store.size(BEGUN) is not None:
            return
        if entry is not None:
            self._store.delete([entry])
        self._mirror.pull()
        raise FileNotFoundError(f"{self._mirror.url} was finished by another process")
