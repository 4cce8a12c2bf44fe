"""A size-bounded local folder for shards of remote caches, shared by any number of processes on one machine.

Shards are stored under their sha256, so several caches may share a folder. Its locks are those of `encoders.locks`.
- `SHA256.tar` is a complete shard. Readers hold a shared lock on it; only unlocked shards are evicted, least recently used
  first.
- `SHA256.BYTES.part` is being fetched by the process that holds its lock. It counts at its final size. A partial file left
  by a killed process is continued by the next process that needs the shard, or evicted like a complete one.
- `.lock` is held while deciding what to evict and which downloads to start.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError
from encoders.files import write_errors
from encoders.locks import lock
from shards.cache.manifest import ShardEntry

KEPT = re.compile(r"[0-9a-f]{64}\.(tar|(?P<bytes>[0-9]{1,15})\.part)")  # other files are neither counted nor removed
POLL_SECONDS = 0.1
STALLED_SECONDS = 1200.0  # one that fails gives up before, see `shards.cache.remote.Retry`; a stopped process never does
PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK  # refuse symlinks that leave the folder, and do not block on a pipe
DEFAULT_BYTES = 100 * 2**30


@dataclass(frozen=True)
class _Kept:
    """A file of the folder: its (final) size in bytes and when it was last opened."""

    path: Path
    bytes: int
    used: float


class LocalCache:
    """Shards on this machine's disk.

    Args:
        folder: made if absent; on a disk of this machine.
        limit_bytes: maximum total size of all files.
        wait_seconds: how long to wait for other processes to release shards when there is no room.
        stalled_seconds: how long to wait for another process whose download makes no progress.

    Raises:
        InputError: the folder cannot be made or written to.
    """

    def __init__(
        self, folder: Path, *, limit_bytes: int, wait_seconds: float = 120.0, stalled_seconds: float = STALLED_SECONDS
    ) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.wait_seconds = wait_seconds
        self.stalled_seconds = stalled_seconds
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                pass
        except (InputError, OSError) as error:
            raise InputError(f"the local cache {folder} cannot be used: {error}; name a folder that can be written") from error

    def open(self, entry: ShardEntry, fill: Callable[[BinaryIO], None], *, wait: bool = True) -> int | None:
        """Open a shard; it is not evicted until all of its descriptors are closed.

        Args:
            fill: called to complete the file if the shard is not cached; the file holds what an earlier try fetched.
            wait: if False, return None when there is no room for the shard or another process is fetching it.

        Raises:
            InputError: there was no room for wait_seconds; another process is fetching the shard, and nothing came for
                stalled_seconds; a file of the folder cannot be used; whatever `fill` raises.
        """
        if entry.bytes > self.limit_bytes:
            raise InputError(f"{entry.name} has {entry.bytes} bytes, {self._limit}")
        deadline = time.monotonic() + self.wait_seconds
        part = _Growing(self._part_path(entry))
        while True:
            descriptor = self._open_whole(entry)
            if descriptor is not None:
                return descriptor
            with self._alone():
                room = self._part_path(entry).exists() or self._make_room(entry.bytes)
                descriptor = self._begin(entry) if room else None
            if descriptor is not None:
                return self._complete(entry, descriptor, fill)
            if not wait:
                return None
            if not room and time.monotonic() > deadline:
                raise InputError(
                    f"no room for {entry.name} ({entry.bytes} bytes): all other shards there have been in use for"
                    f" {self.wait_seconds:.0f} s, {self._limit}"
                )
            if room and part.seconds_still() > self.stalled_seconds:
                raise InputError(
                    f"{part.path} is being fetched by another process, which brought nothing for {self.stalled_seconds:.0f} s;"
                    " end that process, it may have been stopped, then run the same command again"
                )
            time.sleep(POLL_SECONDS)

    @property
    def _limit(self) -> str:
        return f"and the local cache {self.folder} may hold {self.limit_bytes} bytes; give it more (data.local_cache_gib)"

    def whole_path(self, entry: ShardEntry) -> Path:
        """Path of a shard once it is completely cached."""
        return self.folder / f"{entry.sha256}.tar"

    def _part_path(self, entry: ShardEntry) -> Path:
        return self.folder / f"{entry.sha256}.{entry.bytes}.part"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = self._open(self.folder / ".lock", os.O_RDWR | os.O_CREAT)
        try:
            lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _open_whole(self, entry: ShardEntry) -> int | None:
        """Open and lock the complete shard; None if it is not cached. A file of the wrong size is damaged and gets removed."""
        path = self.whole_path(entry)
        try:
            descriptor = self._open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        lock(descriptor, shared=True)
        facts = os.fstat(descriptor)
        if facts.st_nlink and facts.st_size == entry.bytes:
            os.utime(descriptor)
            return descriptor
        os.close(descriptor)
        if facts.st_nlink:  # otherwise it was evicted in between
            with self._alone():
                path.unlink(missing_ok=True)
        return None

    def _begin(self, entry: ShardEntry) -> int | None:
        """Open and lock the shard's partial file, under `.lock`; None if another process is fetching or has fetched it."""
        if self.whole_path(entry).exists():
            return None
        descriptor = self._open(self._part_path(entry), os.O_RDWR | os.O_CREAT)
        if lock(descriptor, wait=False) and self._part_path(entry).exists():  # else completed between opening and locking
            return descriptor
        os.close(descriptor)
        return None

    def _open(self, path: Path, flags: int) -> int:
        """Open a regular file of the folder.

        Raises:
            FileNotFoundError: it is not there.
            InputError: something else is there, or it cannot be opened.
        """
        try:
            descriptor = os.open(path, flags | PLAIN, 0o666)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"{path} in the local cache cannot be opened ({error.strerror}); remove it") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InputError(f"{path} in the local cache is not a regular file; remove it")
        return descriptor

    def _complete(self, entry: ShardEntry, descriptor: int, fill: Callable[[BinaryIO], None]) -> int:
        """Complete a partial file and rename it; the lock passes to the reader without being released."""
        try:
            with open(descriptor, "r+b", closefd=False) as part:
                fill(part)
                with write_errors(self._part_path(entry)):
                    part.flush()
                    os.fsync(descriptor)
            self._part_path(entry).rename(self.whole_path(entry))
            lock(descriptor, shared=True)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _make_room(self, wanted: int) -> bool:
        """Evict unused shards, least recently used first, until `wanted` bytes fit; return whether they do."""
        kept = sorted(self._kept(), key=lambda file: file.used)
        total = wanted + sum(file.bytes for file in kept)
        for file in kept:
            if total <= self.limit_bytes:
                break
            total -= file.bytes if _evict(file.path) else 0
        return total <= self.limit_bytes

    def _kept(self) -> Iterator[_Kept]:
        for path in self.folder.iterdir():
            match = KEPT.fullmatch(path.name)
            if match and match["bytes"]:
                yield _Kept(path, int(match["bytes"]), _modified(path))
            elif match:
                facts = path.lstat()
                yield _Kept(path, facts.st_size, facts.st_mtime)


class _Growing:
    """Watches a partial file that another process is fetching."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = -1
        self._since = time.monotonic()

    def seconds_still(self) -> float:
        """Seconds since the file was last seen to grow."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = -1
        if size != self._size:
            self._size, self._since = size, time.monotonic()
        return time.monotonic() - self._since


def _modified(part: Path) -> float:
    """Modification time of a partial file; the current time if it has just been completed."""
    try:
        return part.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _evict(path: Path) -> bool:
    """Remove a shard file unless a process has it locked; anything that is not a regular file stays."""
    try:
        descriptor = os.open(path, os.O_RDONLY | PLAIN)
    except OSError:  # removed in the meantime, a symlink, or not readable
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not lock(descriptor, wait=False):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
