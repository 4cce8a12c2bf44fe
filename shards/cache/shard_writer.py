"""Writes one shard as a webdataset tar, with reproducible bytes, and takes its checksum meanwhile.

The bytes are those of webdataset's `TarWriter`. It is not used because it holds up to 10 KiB back and writes them when it is
dropped: a shard that was abandoned and removed would be written to again.
"""

import hashlib
import os
import secrets
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tarfile import BLOCKSIZE, RECORDSIZE
from typing import IO

from encoders.files import write_errors
from shards.cache.files import TEMPORARY_SUFFIX, atomic_writer

JPEG, EMBEDDING, FACTS = "jpg", "emb", "json"  # the members of a sample
SYNC_BYTES = 2**26  # written between two syncs, so that the last one, which delays the next shard, is short


class ShardWriter:
    """Adds samples to the shard being written; created by `write_shard` and `ShardFile`.

    Args:
        write: writes bytes to the file.

    Attributes:
        keys: keys added so far, in order.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.keys: list[str] = []
        self._known: set[str] = set()
        self._write = write
        self._bytes = 0

    def add(self, key: str, *, jpeg: bytes, embedding: bytes, facts: bytes) -> None:
        """Append `KEY.emb`, `KEY.jpg` and `KEY.json`. Keys must be unique."""
        if key in self._known:
            raise ValueError(f"key {key} comes twice in one shard")
        for suffix, content in ((EMBEDDING, embedding), (JPEG, jpeg), (FACTS, facts)):
            self._put(_header(f"{key}.{suffix}", len(content)))
            self._put(content)
            self._put(bytes(-len(content) % BLOCKSIZE))
        self._known.add(key)
        self.keys.append(key)

    def close(self) -> None:
        """Write the tar's end: two empty blocks, then whatever fills its last record."""
        self._put(bytes(2 * BLOCKSIZE))
        self._put(bytes(-self._bytes % RECORDSIZE))

    def _put(self, content: bytes) -> None:
        if content:
            self._write(content)
            self._bytes += len(content)


class ShardFile:
    """A shard being written under a temporary name next to its own; one thread at a time may use it.

    Attributes:
        path: the shard's final path.
        temporary: the file.
        keys: keys added so far, in order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        self._writer = ShardWriter(self._write)
        self._digest = hashlib.sha256()
        self._bytes = self._unsynced = 0
        self._file: IO[bytes] | None = None
        self._failed = False

    @property
    def keys(self) -> list[str]:
        return self._writer.keys

    def add(self, key: str, *, jpeg: bytes, embedding: bytes, facts: bytes) -> None:
        """Append a sample, see `ShardWriter.add`.

        Raises:
            InputError: the file cannot be written, see `encoders.files.write_errors`.
            FileNotFoundError: the folder is gone, because the cache was finished meanwhile.
        """
        with self._errors():
            self._writer.add(key, jpeg=jpeg, embedding=embedding, facts=facts)

    def finish(self) -> tuple[int, str]:
        """Complete the file and sync it; return its size in bytes and its sha256. Raises as `add` does."""
        with self._errors():
            self._writer.close()
            assert self._file is not None
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return self._bytes, self._digest.hexdigest()

    def abandon(self) -> None:
        """Close and remove the file."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        if self._file is None:
            self._file = self.temporary.open("xb")
        self._file.write(content)
        self._digest.update(content)
        self._bytes += len(content)
        self._unsynced += len(content)
        if self._unsynced >= SYNC_BYTES:
            self._unsynced = 0
            self._file.flush()
            os.fsync(self._file.fileno())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """After an error nothing more is written. FileNotFoundError passes, as callers handle it separately."""
        gone: FileNotFoundError | None = None
        if self._failed:
            raise RuntimeError(f"{self.temporary} could not be written")
        self._failed = True
        with write_errors(self.path):
            try:
                yield
                self._failed = False
            except FileNotFoundError as error:
                gone = error
        if gone is not None:
            raise gone


@contextmanager
def write_shard(path: Path) -> Iterator[ShardWriter]:
    """Write the shard `path`; it gets its final name only when the block exits without an error."""
    with atomic_writer(path) as file:
        writer = ShardWriter(file.write)
        yield writer
        writer.close()


def bytes_in_tar(size: int) -> int:
    """Return the bytes that a member of `size` bytes takes in a tar: its header and its data, padded to whole blocks."""
    return BLOCKSIZE * (1 + -(-size // BLOCKSIZE))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)
