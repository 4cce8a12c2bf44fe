"""Verification of shards without per-sample checksums: each is compared with its sha256 once per rank and run."""

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
    """Tracks which shards of a cache folder have been verified; shared between the worker processes of one rank.

    A rank thus reads each shard that it uses one extra time per run, before its first sample, however many workers it has.
    Ranks do not share results: at any time they read different shards, and over many epochs each reads the whole cache once.

    Args:
        folder: the cache.
        shards: number of its shards.
    """

    def __init__(self, folder: Path, *, shards: int) -> None:
        self.folder = folder
        self.read = 0  # shards that this process has verified
        self._whole = torch.zeros(shards, dtype=torch.uint8).share_memory_()
        # Locks of this machine, on a file that forked workers inherit: a shared file system may have no locks, and NFS refuses
        # them on a shard that is open for reading only. A lock ends with the process that holds it.
        self._locks = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object

    def __getstate__(self) -> dict[str, Any]:
        """Drop the lock file for spawned workers; several of them may then verify the same shard, which is harmless."""
        return self.__dict__ | {"_locks": None}

    def check(self, number: int, entry: ShardEntry) -> None:
        """Compare a shard with its sha256 unless already done; concurrent callers wait for the first one.

        Args:
            number: index of the shard in the manifest, from 0.
            entry: its manifest entry.

        Raises:
            InputError: the shard has another checksum or cannot be read; names the shard.
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
        """Hold the shard's lock, which is the lock file's byte at the shard's number."""
        if self._locks is None:
            yield
            return
        with suppress(OSError):  # the temporary folder's file system has no locks
            fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, number)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number)
