"""Shards whose records vouch for nothing but themselves are compared with the manifest, each once a run."""

import fcntl
from contextlib import suppress
from pathlib import Path

import torch

from encoders.errors import InputError
from encoders.files import sha256_file
from shards.manifest import ShardEntry


class WholeShards:
    """Which shards of a cache in a folder were found whole; worker processes of the one that made this share what they find.

    Args:
        folder: the cache.
        shards: how many it has.
    """

    def __init__(self, folder: Path, *, shards: int) -> None:
        self.folder = folder
        self.read = 0  # shards that this process has read to its end
        self._whole = torch.zeros(shards, dtype=torch.uint8).share_memory_()

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
        path = self.folder / entry.name
        try:
            with path.open("rb") as file:
                with suppress(OSError):  # a file system without locks: several processes read the shard, no harm
                    fcntl.flock(file, fcntl.LOCK_EX)
                if self._whole[number]:
                    return
                sha256 = sha256_file(path)
                self.read += 1
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); run precompute again") from error
        if sha256 != entry.sha256:
            raise InputError(f"{entry.name}: it is damaged: sha256 is {sha256}, the manifest says {entry.sha256}")
        self._whole[number] = 1
