"""Downloads from a URL, with retries, resumption after a broken connection and a checksum before use.

http and https use the standard library (`shards.cache.web`): there is no event loop for a forked worker to inherit, and we
control the Range header, time-outs and status codes. Every other protocol (s3, gs, memory, ...) uses fsspec.

Every download is bounded, both in bytes and, through the slowest allowed rate, in time.
"""

import hashlib
import http
import os
import tempfile
import time
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError, MissingExtra
from encoders.files import write_failure
from encoders.messages.shown import shown
from shards.cache import web
from shards.cache.pace import Pace, TooSlow
from shards.stores.retry import DEFAULT_RETRY, join_url
from shards.stores.retry import Retry as Retry  # re-exported
from shards.stores.retry import is_url as is_url

BLOCK_BYTES = 1 << 20
FOR_NOW = (408, 425, 429, 500, 502, 503, 504)  # transient http statuses, worth a retry
ABSENT = (404, 410)
NOT_SATISFIABLE = 416
REDIRECTS = range(300, 400)
MAX_REASON = 300  # longest server or client message shown, characters


class _WrongFile(Exception):
    """The download is not the expected file, so the next try starts from byte 0."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a download is expected to contain.

    Attributes:
        what: description for error messages, next to the URL.
        max_bytes: upper limit of the content.
        size, sha256: of the content, if known.
    """

    what: str
    max_bytes: int
    size: int | None = None
    sha256: str | None = None


def fetch(url: str, file: BinaryIO, *, expected: Expected, retry: Retry) -> None:
    """Download a URL into `file`, open for reading and writing, continuing after the bytes that it already holds.

    Args:
        expected: if it has no size, the download starts at byte 0.
        retry: when to give up.

    Raises:
        InputError: the URL does not exist, may not be read or is too large, or the last try failed, stalled or delivered
            other content; or `file` cannot be written. Names the description and the URL.
        MissingExtra: the URL's protocol needs fsspec.
    """
    failures = 0
    pace = Pace(slowest=retry.slowest_bytes_per_second)
    while True:
        start = file.seek(0, os.SEEK_END) if expected.size is not None else 0
        try:
            _fill(url, file, start=start, expected=expected, pace=pace, timeout=retry.timeout_seconds)
            _check(file, sha256=expected.sha256)
            return
        except _WrongFile as error:
            file.truncate(0)
            failures, reason = failures + 1, str(error)
        except (InputError, MissingExtra):
            raise
        except Exception as error:  # fsspec passes on the exceptions of each protocol's client
            if (permanent := _permanent(error)) is not None:
                raise InputError(f"{expected.what} cannot be read: {url}: {permanent}") from error
            # Without a known size the next try starts over, so no bytes count as progress.
            more = file.seek(0, os.SEEK_END) > start
            progress = pace.has_caught_up() and more and expected.size is not None
            failures, reason = (1 if progress else failures + 1), f"{type(error).__name__}: {_plain(error)}"
        if failures >= retry.tries:
            raise InputError(
                f"{expected.what} cannot be fetched from {url}: {failures} tries in a row failed, the last with {reason}; see"
                " that the server answers and holds this file, then run the same command again: it goes on where it was"
            )
        time.sleep(retry.pause(failures))


@contextmanager
def fetched(url: str, *, names: Mapping[str, int], retry: Retry | None = None) -> Iterator[Path]:
    """Download small files of a folder at a URL to a temporary folder; missing files are skipped.

    Args:
        names: file names and the maximum size of each in bytes.

    Raises:
        InputError: see `web.check_folder_url`, `fetch`; what the block raises, with the URL in place of the temporary folder.
    """
    web.check_folder_url(url)
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, max_bytes in names.items():
                path = Path(folder) / name
                expected = Expected(what=name, max_bytes=max_bytes)
                with path.open("w+b") as file:
                    there = _fetch_if_there(join_url(url, name), file, expected=expected, retry=retry or DEFAULT_RETRY)
                if not there:
                    path.unlink()
            yield Path(folder)
        except InputError as error:
            raise InputError(str(error).replace(folder, url.rstrip("/"))) from error


def _fetch_if_there(url: str, file: BinaryIO, *, expected: Expected, retry: Retry) -> bool:
    """Fetch a file; return False if it does not exist."""
    try:
        fetch(url, file, expected=expected, retry=retry)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, FileNotFoundError) or (isinstance(cause, urllib.error.HTTPError) and cause.code in ABSENT):
            return False
        raise
    return True


def _fill(url: str, file: BinaryIO, *, start: int, expected: Expected, pace: Pace, timeout: float) -> None:
    """Append the URL's content from byte `start` on."""
    size = expected.size
    if start == size:
        return
    with _opened(url, start=start, timeout=timeout, pace=pace, max_bytes=expected.max_bytes) as (begin, stream):
        announced = getattr(stream, "length", None)  # http's Content-Length
        if size is None and announced is not None and announced > expected.max_bytes:
            raise InputError(_too_large(url, expected, f"{announced} bytes"))
        file.truncate(begin)
        file.seek(begin)
        read = getattr(stream, "read1", stream.read)  # keep what has arrived, for the next try to continue
        while block := read(BLOCK_BYTES):
            if size is None and file.tell() + len(block) > expected.max_bytes:
                raise InputError(_too_large(url, expected, f"more than {expected.max_bytes} bytes"))
            _write(file, block)
            if size is not None and file.tell() > size:
                raise _WrongFile(f"more than the {size} bytes that it should have")
        left = getattr(stream, "length", None)  # fewer bytes arrived than Content-Length announced
    end = file.seek(0, os.SEEK_END)
    if left or (size is not None and end < size):
        raise ConnectionError(f"the connection ended after {end} of {size or end + (left or 0)} bytes")


def _write(file: BinaryIO, block: bytes) -> None:
    try:
        file.write(block)
        file.flush()
    except OSError as error:  # an error of the local disk; retrying does not help
        raise InputError(write_failure(Path(str(getattr(file, "name", "."))), error)) from error


def _too_large(url: str, expected: Expected, found: str) -> str:
    return (
        f"{expected.what} cannot be read: {url} has {found}, at most {expected.max_bytes} are read; see that the URL is that of"
        " a cache that precompute wrote"
    )


def _check(file: BinaryIO, *, sha256: str | None) -> None:
    """Raise _WrongFile if the content has another checksum."""
    if sha256 is not None:
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
        if digest.hexdigest() != sha256:
            raise _WrongFile(f"other bytes: sha256 {digest.hexdigest()}, the manifest says {sha256}")


def _permanent(error: BaseException) -> str | None:
    """Return why retrying cannot help; None if it may."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code in FOR_NOW:
            return None
        if error.code in REDIRECTS:
            return f"the server answers {error.code}, {_plain(error.reason)}; give the URL where the cache really lies"
        return f"the server answers {error.code} {_plain(error.reason)}"
    if isinstance(error, web.TooMuch):
        return f"the server sends {error}; see what answers at this URL"
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return f"{type(error).__name__}: {_plain(error)}"
    return None


def _plain(reason: object) -> str:
    """Return a server's or client's message as one printable line."""
    return shown(" ".join(str(reason).split()))[:MAX_REASON]


@contextmanager
def _opened(url: str, *, start: int, timeout: float, pace: Pace, max_bytes: int) -> Iterator[tuple[int, BinaryIO]]:
    """Open a URL; return the offset at which the stream begins (`start` if the server supports ranges) and the stream."""
    if url.startswith(("http://", "https://")):
        try:
            with web.opened(url, start=start, timeout=timeout, pace=pace, max_bytes=max_bytes) as response:
                ranged = response.status == http.HTTPStatus.PARTIAL_CONTENT
                place = response.headers["Content-Range"] or ""
                if ranged and not place.startswith(f"bytes {start}-"):
                    raise _WrongFile(f"bytes {_plain(place)} where those from {start} on were asked for")
                yield (start if ranged else 0), response  # type: ignore[misc]
        except urllib.error.HTTPError as error:
            if error.code == NOT_SATISFIABLE:
                raise _WrongFile(f"the server's file ends before byte {start}") from error
            raise
        return
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", extra="remote") from error
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # its own package is not installed; no such protocol
        raise InputError(f"{url} cannot be read: {error}") from error
    with filesystem.open(path, "rb", cache_type="readahead") as file:
        file.seek(start)
        yield start, _Paced(file, pace=pace, timeout=timeout)  # type: ignore[misc]


class _Paced:
    """An fsspec file with the rate check that fsspec's clients lack; the rate is checked after every read."""

    def __init__(self, file: BinaryIO, *, pace: Pace, timeout: float) -> None:
        self._file = file
        self._pace = pace
        self._latest = pace.behind + timeout
        self._timeout = timeout

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self._pace.arrived(len(block))
        if self._pace.behind > self._latest:
            raise TooSlow(f"less than {self._pace.slowest} bytes a second for {self._timeout:.0f} s")
        return block
