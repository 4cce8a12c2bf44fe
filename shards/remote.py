"""Files at a URL: fetched with retries, continued where a connection broke, checked before they are used.

http and https go through the standard library: no event loop that a forked worker would inherit, and the Range header,
time-outs and status codes in our hands. Every other protocol (s3, gs, memory, ...) goes through fsspec.
"""

import hashlib
import http.client
import os
import random
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError, MissingExtra

BLOCK_BYTES = 1 << 20
FOR_NOW = (408, 425, 429, 500, 502, 503, 504)  # http statuses that may be others the next time
ABSENT = (404, 410)
NOT_SATISFIABLE = 416
_JITTER = random.SystemRandom()  # never the generators that training is seeded with


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and when to try again.

    Attributes:
        tries: in a row without a byte of progress, before giving up.
        first_seconds, longest_seconds: the pause after the first failure, doubled after each further one up to the
            longest; half of it is drawn at random, so that many processes do not come back at once.
        timeout_seconds: without a byte, before a connection counts as broken.
    """

    tries: int = 8
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    timeout_seconds: float = 60.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        longest = min(self.longest_seconds, self.first_seconds * 2 ** (failures - 1))
        return longest * _JITTER.uniform(0.5, 1.0)


DEFAULT_RETRY = Retry()


class _WrongFile(Exception):
    """What arrived is not the file, so a next try begins at its first byte."""


def is_url(path: object) -> bool:
    """Whether a cache's place is a URL, not a folder."""
    return isinstance(path, str) and "://" in path


def join_url(folder: str, name: str) -> str:
    """The URL of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def fetch(url: str, file: BinaryIO, *, what: str, retry: Retry, size: int | None = None, sha256: str | None = None) -> None:
    """Bring `file`, open for reading and writing, to the content of a URL; what it holds already is not fetched again.

    Args:
        what: to call it in an error, beside its URL.
        retry: when to give up.
        size, sha256: of the content, where they are known; without a size, `file` is filled from its first byte.

    Raises:
        InputError: names `what` and the URL: it does not exist, may not be read, or still fails or arrives as something
            else at the last try.
        MissingExtra: the URL's protocol needs fsspec.
    """
    failures = 0
    while True:
        before = file.seek(0, os.SEEK_END) if size is not None else 0
        try:
            _fill(url, file, start=before, size=size, timeout=retry.timeout_seconds)
            _check(file, size=size, sha256=sha256)
            return
        except _WrongFile as error:
            file.truncate(0)
            failures, reason = failures + 1, str(error)
        except (InputError, MissingExtra):
            raise
        except Exception as error:  # fsspec's protocols raise what their own clients raise
            permanent = _permanent(error)
            if permanent:
                raise InputError(f"{what} cannot be read: {url}: {permanent}") from error
            # Bytes that arrived are progress. Without a size the next try starts anew, so nothing is.
            progress = size is not None and file.seek(0, os.SEEK_END) > before
            failures, reason = (1 if progress else failures + 1), f"{type(error).__name__}: {error}"
        if failures >= retry.tries:
            raise InputError(
                f"{what} cannot be fetched from {url}: {failures} tries in a row failed, the last with {reason}; see that"
                " the server answers and holds this file, then run the same command again: it goes on where it was"
            )
        time.sleep(retry.pause(failures))


@contextmanager
def fetched(url: str, *, names: Sequence[str], retry: Retry | None = None) -> Iterator[Path]:
    """Small files of the folder at a URL in a temporary folder; a file that is not there is left out.

    Raises:
        InputError: see `fetch`; what the block raises, with the URL in place of the temporary folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in names:
                path = Path(folder) / name
                with path.open("w+b") as file:
                    there = _fetch_if_there(join_url(url, name), file, what=name, retry=retry or DEFAULT_RETRY)
                if not there:
                    path.unlink()
            yield Path(folder)
        except InputError as error:
            raise InputError(str(error).replace(folder, url.rstrip("/"))) from error


def _fetch_if_there(url: str, file: BinaryIO, *, what: str, retry: Retry) -> bool:
    """Fetch a file; False where there is none."""
    try:
        fetch(url, file, what=what, retry=retry)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, FileNotFoundError) or (isinstance(cause, urllib.error.HTTPError) and cause.code in ABSENT):
            return False
        raise
    return True


def _fill(url: str, file: BinaryIO, *, start: int, size: int | None, timeout: float) -> None:
    """Append what the URL holds from byte `start` on."""
    if start == size:
        return
    with _opened(url, start=start, timeout=timeout) as (begin, stream):
        file.truncate(begin)
        file.seek(begin)
        read = getattr(stream, "read1", stream.read)  # what has arrived is kept, if the rest never does
        while block := read(BLOCK_BYTES):
            file.write(block)
            file.flush()
            if size is not None and file.tell() > size:
                raise _WrongFile(f"more than the {size} bytes that it should have")
        left = getattr(stream, "length", None)  # what http's Content-Length announced and did not come
    end = file.seek(0, os.SEEK_END)
    if left or (size is not None and end < size):
        raise ConnectionError(f"the connection ended after {end} of {size or end + (left or 0)} bytes")


def _check(file: BinaryIO, *, size: int | None, sha256: str | None) -> None:
    """Raise _WrongFile where the content is not the one expected."""
    if sha256 is not None:
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
        if digest.hexdigest() != sha256:
            raise _WrongFile(f"other bytes: sha256 {digest.hexdigest()}, the manifest says {sha256}")


def _permanent(error: BaseException) -> str | None:
    """Why there is no use in trying again, None where there is."""
    if isinstance(error, urllib.error.HTTPError):
        return None if error.code in FOR_NOW else f"the server answers {error.code} {error.reason}"
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def _opened(url: str, *, start: int, timeout: float) -> Iterator[tuple[int, BinaryIO]]:
    """The byte at which a stream of the URL's content begins, `start` where the server can do it, and the stream."""
    if url.startswith(("http://", "https://")):
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), timeout=timeout
            )
        except urllib.error.HTTPError as error:
            if error.code == NOT_SATISFIABLE:
                raise _WrongFile(f"the server's file ends before byte {start}") from error
            raise
        with response:
            ranged = response.status == http.HTTPStatus.PARTIAL_CONTENT
            if ranged and not (response.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
                raise _WrongFile(f"bytes {response.headers['Content-Range']} where those from {start} on were asked for")
            yield (start if ranged else 0), response  # type: ignore[misc]
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
        yield start, file
