"""An index of the photos in a tar, made in one pass over its headers and cached in a file.

tarfile trusts the sizes in headers: it reads as many bytes as an extended header claims, and a negative size makes it seek
backwards. Therefore the bytes it may read between two members are limited here, and it may only move forward.
"""

import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError
from encoders.files import file_kind, remedy
from encoders.samples.image import MAX_PHOTO_BYTES
from shards.sources.base import MAX_JSON_BYTES, PHOTO_SUFFIXES, printable
from shards.sources.kept_index import TarIndex as TarIndex  # re-exported
from shards.sources.kept_index import keep_index, kept_index, kept_path
from shards.sources.pool import worker_pool
from shards.sources.remote import RemoteTar
from shards.stores.base import StoreFailure

Tar = Path | RemoteTar

MAX_HEADER_BYTES = 1 << 16  # limit of all headers of a member; a long name takes 2 KiB
MAX_GLOBAL_RECORDS = 100  # limit of global PAX records, which tarfile processes for every member
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Options for listing tars.

    Attributes:
        folder: caches the index of each tar for other processes and later calls; None disables the cache.
        rank, world_size: this process among those that list the same tars at the same time; each starts with other tars,
            so that they share the work through `folder`.
        processes: number of child processes that read headers; only used with a `folder`.
        progress: called with the number of tars listed and of all tars.
    """

    folder: Path | None = None
    rank: int = 0
    world_size: int = 1
    processes: int = 1
    progress: Callable[[int, int], None] | None = None


def read_index(tar: Tar, *, folder: Path | None = None) -> TarIndex:
    """Return the index of a tar: cached in `folder` for a tar of this name, size and time, or else read from its headers.

    Args:
        tar: the file.
        folder: cache of indexes, created if absent; None disables the cache.

    Raises:
        InputError: not a regular file, not a tar, or a disk error while reading it.
    """
    try:
        facts = tar.stat()
    except OSError as error:
        raise InputError(f"{tar} cannot be opened ({error.strerror}); expected an SA-1B tar") from error
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(f"{tar} is a {file_kind(facts.st_mode)}; expected an SA-1B tar")
    if folder is None:
        return scan_tar(tar)
    index = kept_index(tar, facts, folder=folder)
    if index is None:
        index = scan_tar(tar)
        keep_index(index, tar, facts, folder=folder)
    return index


def keep_indexes(tars: Sequence[Tar], listing: Listing) -> None:
    """Cache the index of each tar in the folder; errors are left for `read_index` to report."""
    if listing.folder is None:
        return
    first = len(tars) * listing.rank // listing.world_size
    with worker_pool(listing.processes) as pool:
        done = pool.map(partial(_keep_index, folder=listing.folder), [*tars[first:], *tars[:first]])
        for count, _ in enumerate(done, start=1):
            if listing.progress is not None:
                listing.progress(count, len(tars))


def _keep_index(tar: Tar, *, folder: Path) -> None:
    with suppress(InputError, OSError):
        if not kept_path(tar, tar.stat(), folder=folder).is_file():  # `read_index` makes a damaged one again
            read_index(tar, folder=folder)


@dataclass
class _Pair:
    name: str
    photo: tuple[int, int] = (-1, -1)
    json: tuple[int, int] = (-1, -1)
    problem: str | None = None

    def start(self) -> tuple[int, str]:
        return min(offset for offset, _ in (self.photo, self.json) if offset >= 0), self.name


def scan_tar(tar: Tar) -> TarIndex:
    """Index a tar in one pass over its headers.

    Raises:
        InputError: not a tar, or a disk error.
    """
    pairs: dict[str, _Pair] = {}
    repeated: list[_Pair] = []
    index = TarIndex()
    try:
        with tar.open("rb", buffering=2 * tarfile.BLOCKSIZE) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            headers = Headers(file)
            try:
                for member in headers.members():
                    if not member.isdir() and not _add(member, pairs, repeated, tar_size=size):
                        index.others += 1
                index.ending = _check_end(file, headers.offset)
            except (OSError, MemoryError, StoreFailure):  # an error of this machine or the store, not of the tar
                raise
            except Exception as error:  # tarfile lets its parsers' errors through: ValueError, RecursionError, …
                if not pairs and not index.others:
                    raise InputError(f"{tar} is no readable tar ({_reason(file, error)})") from error
                index.ending = f"the tar cannot be read to its end ({_reason(file, error)})"
    except OSError as error:
        todo = remedy(error, otherwise="run the same command again")
        raise InputError(f"{tar} cannot be read ({error.strerror}); {todo}") from error
    for number, pair in enumerate(sorted([*pairs.values(), *repeated], key=_Pair.start)):
        index.names.append(pair.name)
        index.spans += [*pair.photo, *pair.json]
        if pair.problem is not None:
            index.problems[number] = pair.problem
    return index


class Headers:
    """A file wrapper for tarfile that limits the bytes read per member and only allows moving forward."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_HEADER_BYTES
        self.offset = 0  # offset of the next header
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._left:
            raise tarfile.ReadError(f"a header of {size} bytes; at most {MAX_HEADER_BYTES} are read")
        self._left -= max(1, size)
        return self._file.read(size)

    def members(self) -> Iterator[tarfile.TarInfo]:
        with tarfile.open(fileobj=self, mode="r:") as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                if archive.offset <= self.offset:
                    raise tarfile.ReadError(f"the header at byte {member.offset} leads backwards")
                if len(archive.pax_headers) > MAX_GLOBAL_RECORDS:
                    raise tarfile.ReadError(f"more than {MAX_GLOBAL_RECORDS} global PAX records")
                self.offset = archive.offset
                self._left = MAX_HEADER_BYTES
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep each; memory stays flat
                yield member
            self.offset = archive.offset


def _check_end(file: BinaryIO, offset: int) -> str | None:
    """Raise unless the tar ends in zeros; tarfile takes a damaged header or the end of the file for the end of the tar."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        return "the tar has no end mark; it was cut off, and photos may be missing"
    return f"damaged header at byte {offset}; what follows cannot be read" if any(block) else None


def _add(member: tarfile.TarInfo, pairs: dict[str, _Pair], repeated: list[_Pair], *, tar_size: int) -> bool:
    """Add a member to its pair; return False if it is neither photo nor json."""
    stem, suffix = os.path.splitext(member.name)
    suffix = suffix.lower()
    if suffix not in (*PHOTO_SUFFIXES, ".json") or os.path.basename(stem).startswith("."):
        return False
    slot = "json" if suffix == ".json" else "photo"
    span = (member.offset_data, min(max(0, member.size), tar_size))  # a stated size may have hundreds of digits
    pair = pairs.setdefault(stem, _Pair(stem))
    if getattr(pair, slot) != (-1, -1):
        repeated.append(_Pair(stem, **{slot: span}, problem=f"a second {suffix[1:]} of this name in one tar"))
        return True
    setattr(pair, slot, span)
    name = printable(member.name)
    most = MAX_JSON_BYTES if slot == "json" else MAX_PHOTO_BYTES
    if not member.isreg() or member.issparse():
        pair.problem = f"{name} is a link or special file"
    elif member.name.startswith("/") or ".." in Path(member.name).parts:
        pair.problem = f"{name} leads out of the tar"
    elif not 0 <= member.size <= most:
        pair.problem = f"{name} states {str(member.size)[:20]} bytes; at most {most} are read"
    elif member.offset_data + member.size > tar_size:
        pair.problem = f"{name} is cut off at the end of the tar"
    return True


def _reason(file: BinaryIO, error: Exception) -> str:
    file.seek(0)
    packed = file.read(2) == GZIP_MAGIC
    return "it is compressed with gzip: unpack it with gunzip" if packed else f"{type(error).__name__}: {error}"
