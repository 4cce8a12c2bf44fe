"""Writes one shard as a webdataset tar, atomically and with reproducible bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tarfile import BLOCKSIZE

from webdataset.writer import TarWriter

from shards.cache.files import atomic_writer

JPEG, EMBEDDING, FACTS = "jpg", "emb", "json"  # the members of a sample


class ShardWriter:
    """Adds samples to the shard being written; created by `write_shard`.

    Attributes:
        keys: keys added so far, in order.
    """

    def __init__(self, tar: TarWriter) -> None:
        self.keys: list[str] = []
        self._tar = tar

    def add(self, key: str, *, jpeg: bytes, embedding: bytes, facts: bytes) -> None:
        """Append `KEY.emb`, `KEY.jpg` and `KEY.json`. Keys must be unique."""
        if key in self.keys:
            raise ValueError(f"key {key} comes twice in one shard")
        self._tar.write({"__key__": key, JPEG: jpeg, EMBEDDING: embedding, FACTS: facts})
        self.keys.append(key)


@contextmanager
def write_shard(path: Path) -> Iterator[ShardWriter]:
    """Write the shard `path`; it gets its final name only when the block exits without an error."""
    with atomic_writer(path) as file:
        tar = TarWriter(file, encoder=False, user="", group="", mode=0o644, mtime=0)
        try:
            yield ShardWriter(tar)
        finally:
            tar.close()


def bytes_in_tar(size: int) -> int:
    """Return the bytes that a member of `size` bytes takes in a tar: its header and its data, padded to whole blocks."""
    return BLOCKSIZE * (1 + -(-size // BLOCKSIZE))
