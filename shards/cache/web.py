"""HTTP responses bounded in size and in time.

A socket time-out restarts with every byte. The bounds here also cover headers and whatever http.client reads internally:
redirect responses, 100-continue lines and chunk trailers.
"""

import http.client
import io
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import quote, urlsplit

from encoders.errors import InputError
from encoders.messages.shown import shown
from shards.cache.pace import Pace, TooSlow

SCHEMES = ("http", "https")
MAX_HEADER_BYTES = 2**18  # limit of a response's headers; servers send less than 2 KiB
MAX_CHUNKING = 16  # bytes on the wire per byte of content, if a server sends one-byte chunks


def check_folder_url(url: str) -> None:
    """Check that an http(s) URL can name a folder; other protocols are left to fsspec.

    Raises:
        InputError: the URL is malformed, or has characters or components that are not supported.
    """
    if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 - raises ValueError if the port is invalid
    except ValueError as error:
        raise InputError(f"{shown(url)} is no URL ({error}); expected one like https://host/folder") from error
    if not host:
        raise InputError(f"{shown(url)} names no server; expected a URL like https://host/folder")
    if parts.username is not None:
        raise InputError(f"the URL of {host} has a user name in it, which is not sent; put the cache where it needs none")
    if parts.query or parts.fragment:
        raise InputError(f"{shown(url)} has a query or a fragment; expected the URL of a folder, like https://host/folder")
    if not url.isascii() or not url.isprintable() or " " in url:
        place = quote(parts.path, safe="/%")
        raise InputError(f"{shown(url)} has characters that a URL cannot have; write its path as {place}, its host in ASCII")


class TooMuch(OSError):
    """The server sent more bytes than allowed."""


@contextmanager
def opened(
    url: str, *, start: int, timeout: float, pace: Pace, max_bytes: int
) -> Iterator[http.client.HTTPResponse]:
    """Request a URL's content from byte `start` on and return the response. Redirects are followed to http and https only.

    Args:
        timeout: seconds that the response may lag behind `pace`, and longest wait for any byte.
        pace: rate of the whole download; counts the bytes that arrive.
        max_bytes: limit of the content.

    Raises:
        TooSlow: here, or while the response is read.
        TooMuch: here, or while the response is read.
        urllib.error.URLError: no connection, an HTTP error, or a redirect to another protocol.
    """
    gauge = _Gauge(pace, timeout=timeout, left=MAX_HEADER_BYTES + MAX_CHUNKING * max_bytes)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    opener = urllib.request.build_opener(_Http(gauge), _Https(gauge), _Redirect())
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.URLError as error:
        if isinstance(error.reason, TooSlow | TooMuch):
            raise error.reason from error
        raise
    with response:
        yield response


class _Gauge:
    """Byte and time limits shared by all connections of one request."""

    def __init__(self, pace: Pace, *, timeout: float, left: int) -> None:
        self.pace = pace
        self.timeout = timeout
        self.left = left
        self._latest = pace.behind + timeout

    def wait_seconds(self) -> float:
        """Return how long to wait for the next byte. Raises TooSlow if no time is left."""
        if (seconds := self._latest - self.pace.behind) <= 0:
            raise TooSlow(f"less than {self.pace.slowest} bytes a second for {self.timeout:.0f} s")
        return min(self.timeout, seconds)

    def arrived(self, count: int) -> None:
        """Record `count` received bytes. Raises TooMuch beyond the limit."""
        self.pace.arrived(count)
        self._latest = min(self._latest, self.pace.behind + self.timeout)
        self.left -= count
        if self.left < 0:
            raise TooMuch("more bytes around the content than any server sends")


class _Measured(io.RawIOBase):
    """A socket file that reports every received byte to the gauge."""

    def __init__(self, connection: socket.socket, gauge: _Gauge) -> None:
        self._connection = connection
        self._raw = connection.makefile("rb", buffering=0)
        self._gauge = gauge

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(self._gauge.wait_seconds())
        count: int | None = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        self._gauge.arrived(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _response_class(gauge: _Gauge) -> type[http.client.HTTPResponse]:
    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
            super().__init__(sock, *arguments, **named)
            self.fp.close()
            self.fp = io.BufferedReader(_Measured(sock, gauge), 1 << 16)

    return Response


class _Http(urllib.request.HTTPHandler):
    def __init__(self, gauge: _Gauge) -> None:
        super().__init__()
        self._response_class = _response_class(gauge)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connect, req)  # type: ignore[arg-type]

    def _connect(self, host: str, **named: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, **named)
        connection.response_class = self._response_class
        return connection


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, gauge: _Gauge) -> None:
        super().__init__()
        self._response_class = _response_class(gauge)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connect, req)  # type: ignore[arg-type]

    def _connect(self, host: str, **named: Any) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(host, **named)
        connection.response_class = self._response_class
        return connection


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, never from https to http; the body of the redirect is not read."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        schemes = SCHEMES[1:] if req.type == "https" else SCHEMES
        if urlsplit(newurl).scheme not in schemes:
            raise urllib.error.HTTPError(req.full_url, code, f"redirects to {newurl}, which is refused", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any
    ) -> Any:
        return super().http_error_302(req, _Unread(fp), code, msg, headers)  # type: ignore[arg-type]

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Unread:
    """A response whose body is discarded unread, since it may be endless."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return b""

    def close(self) -> None:
        self._file.close()
