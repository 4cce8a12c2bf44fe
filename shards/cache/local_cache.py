"""A folder on this machine's disk that keeps shards of remote caches, bounded in bytes, for any number of processes.

A shard is kept under its sha256, so caches may share a folder. Locks are flock's: they hold between the processes of one
machine, and a killed process gives them up.
- `SHA256.tar` is whole. Who reads it holds a shared lock on it; only what nobody holds is evicted, the longest unused
  first.
- `SHA256.BYTES.part` is being fetched by the process that holds its lock. It counts with all the bytes that it will
  have. What a killed process leaves is continued by the next that wants the shard, or evicted like a whole one.
- `.lock` is held while it is decided what is evicted and what may be begun.
"""

import fcntl
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
from shards.cache.manifest import ShardEntry

KEPT = re.compile(r"[0-9a-f]{64}\.(tar|(?P<bytes>[0-9]{1,15})\.part)")  # other files are neither counted nor removed
POLL_SECONDS = 0.1
STALLED_SECONDS = 1200.0  # one that fails gives up before, see `shards.cache.remote.Retry`; a stopped process never does
PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK  # no link that leads out of the folder, no pipe to wait at
DEFAULT_BYTES = 100 * 2**30


@dataclass(frozen=True)
class _Kept:
    """A file of the folder: the bytes that it has, or will have, and when it was last opened."""

    path: Path
    bytes: int
    used: float


class LocalCache:
    """Shards on this machine's disk.

    Args:
        folder: made if absent; on a disk of this machine.
        limit_bytes: of all files together.
        wait_seconds: how long to wait for other processes to be done with shards where there is no room.
        stalled_seconds: how long to wait for another process to go on with the shard that it is fetching.

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
        """A descriptor of the shard, which is not evicted until every such descriptor is closed.

        Args:
            fill: completes the file where the shard is not here yet; it holds what an earlier try left.
            wait: else None where the shard is not here and there is no room for it, or another process is fetching it.

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
        """Where a shard lies when it is here."""
        return self.folder / f"{entry.sha256}.tar"

    def _part_path(self, entry: ShardEntry) -> Path:
        return self.folder / f"{entry.sha256}.{entry.bytes}.part"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self._open(self.folder / ".lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _open_whole(self, entry: ShardEntry) -> int | None:
        """The whole shard, held; None where it is not here. One of another size was damaged, and is removed."""
        path = self.whole_path(entry)
        try:
            descriptor = self._open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        facts = os.fstat(descriptor)
        if facts.st_nlink and facts.st_size == entry.bytes:
            os.utime(descriptor)
            return descriptor
        os.close(descriptor)
        if facts.st_nlink:  # else evicted in between
            with self._alone():
                path.unlink(missing_ok=True)
        return None

    def _begin(self, entry: ShardEntry) -> int | None:
        """The shard's part, locked, while nobody else decides; None where another process is fetching it or has."""
        if self.whole_path(entry).exists():
            return None
        descriptor = self._open(self._part_path(entry), os.O_RDWR | os.O_CREAT)
        if _lock(descriptor) and self._part_path(entry).exists():  # else it became whole between opening and locking
            return descriptor
        os.close(descriptor)
        return None

    def _open(self, path: Path, flags: int) -> int:
        """A descriptor of a plain file of the folder.

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
            raise InputError(f"{path} in the local cache is no file; remove it")
        return descriptor

    def _complete(self, entry: ShardEntry, descriptor: int, fill: Callable[[BinaryIO], None]) -> int:
        """Fill a part and make it whole; its lock goes over to the reader without a gap."""
        try:
            with open(descriptor, "r+b", closefd=False) as part:
                fill(part)
                with write_errors(self._part_path(entry)):
                    part.flush()
                    os.fsync(descriptor)
            self._part_path(entry).rename(self.whole_path(entry))
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _make_room(self, wanted: int) -> bool:
        """Evict what is not in use, the longest unused first, until so many bytes have room; whether they have."""
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
    """A part that another process fetches, as seen from here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = -1
        self._since = time.monotonic()

    def seconds_still(self) -> float:
        """How long it has had the size that it has now, as far as it was looked."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = -1
        if size != self._size:
            self._size, self._since = size, time.monotonic()
        return time.monotonic() - self._since


def _modified(part: Path) -> float:
    """When a part was last written to; now, where it has just become whole."""
    try:
        return part.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _lock(descriptor: int) -> bool:
    """Take a file's lock if nobody holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _evict(path: Path) -> bool:
    """Remove a file unless a process holds it; whatever else has a shard's name stays."""
    try:
        descriptor = os.open(path, os.O_RDONLY | PLAIN)
    except OSError:  # gone meanwhile, a link, or not ours to open
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not _lock(descriptor):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
