"""Shards whose records vouch for nothing but themselves are compared with the manifest, each once a rank and run."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from encoders.errors import InputError
from encoders.files import sha256_file
from shards.cache.manifest import ShardEntry


class WholeShards:
    """Which shards of a cache in a folder were found whole; worker processes of the one that made this share what they find.

    So a rank reads each shard that it uses once more in a run, before its first sample, whatever the number of its workers.
    Ranks do not share what they find: side by side they read different shards, and after many epochs each has read the whole
    cache once.

    Args:
        folder: the cache.
        shards: how many it has.
    """

    def __init__(self, folder: Path, *, shards: int) -> None:
        self.folder = folder
        self.read = 0  # shards that this process has read to its end
        self._whole = torch.zeros(shards, dtype=torch.uint8).share_memory_()
        # Locks of this machine, by a file that forked workers inherit: those of a shared file system may be none, and NFS gives
        # none for a shard that is open for reading only. A lock ends with the process that holds it.
        self._locks = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object

    def __getstate__(self) -> dict[str, Any]:
        """Without the file, for workers that are spawned: several of them may read one shard, which does no harm."""
        return self.__dict__ | {"_locks": None}

    def check(self, number: int, entry: ShardEntry) -> None:
        """Compare a shard with its sha256 unless that was done; the others wait for the first process that asks.

        Args:
            number: of the shard in the manifest, from 0.
            entry: its line there.

        Raises:
            InputError: it has other bytes, or cannot be read; names it.
        """
        if self._whole[number]:
            return
        with self._locked(number):
            if self._whole[number]:
                return
            path = self.folder / entry.name
            try:
                sha256 = sha256_file(path)
            except OSError as error:
                raise InputError(f"{path} cannot be read ({error.strerror}); run precompute again") from error
            self.read += 1
            if sha256 != entry.sha256:
                raise InputError(f"{entry.name}: it is damaged: sha256 is {sha256}, the manifest says {entry.sha256}")
            self._whole[number] = 1

    @contextmanager
    def _locked(self, number: int) -> Iterator[None]:
        """Let the other processes of this rank wait; a shard is locked by the byte of its number."""
        if self._locks is None:
            yield
            return
        with suppress(OSError):  # a temporary folder without locks
            fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, number)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number)
