"""A loopback http server that serves a folder and fails as a test tells it to.

Run: server.py FOLDER FAILS prints the port, then serves; every FAILS-th connection is dropped in the middle.
"""

import re
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = Callable[[str, int], str | None]  # file name, number of this request (from 0) -> what goes wrong


class FaultyServer(ThreadingHTTPServer):
    """Serves `folder`, with faults.

    - "500", "403": that status. "silent": no answer for `stall_seconds`. "wrong": zeros.
    - "drop": half of what is left under a Content-Length of all. "short": half under its own length.
    - "stall": half, then nothing for `stall_seconds`. "no-range": the whole file whatever was asked for.
    - "drip": half, then a byte every hundredth of a second. "drip header": so from the first byte on.
    - "endless", "endless header": bytes, header lines without end. "huge": a Content-Length of a tebibyte.
    - "to URL": a redirect there, whose answer is endless.

    Attributes:
        requests: (file name, first byte asked for) of each request.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *, fault: Fault = lambda name, number: None, stall_seconds: float = 1.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.fault = fault
        self.stall_seconds = stall_seconds
        self.requests: list[tuple[str, int]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/some/where"

    def __enter__(self) -> "FaultyServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address) -> None:  # clients that a test kills are no news
        pass


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append((name, start))
        fault = self.server.fault(name, number)
        path = self.server.folder / name
        if fault == "silent":
            time.sleep(self.server.stall_seconds)
            return None
        if fault in ("500", "403"):
            return self.send_error(int(fault))
        if not path.is_file():
            return self.send_error(404)
        whole = path.read_bytes()
        if start >= len(whole) > 0 and start:
            return self.send_error(416)
        if fault is not None and fault.startswith(("endless", "to ", "huge", "drip header")):
            return self._without_end(fault)
        start = 0 if fault == "no-range" else start
        data = whole[start:]
        if fault == "wrong":
            data = bytes(len(data))
        sent = data[: len(data) // 2] if fault in ("drop", "short", "stall", "drip") else data
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(sent) if fault == "short" else len(data)))
        self.end_headers()
        self.wfile.write(sent)
        if fault == "stall":
            self.wfile.flush()
            time.sleep(self.server.stall_seconds)
        if fault == "drip":
            self._drip(data[len(sent) :])
        self.close_connection = True

    def _drip(self, data: bytes) -> None:
        """A byte at a time, until the client has gone."""
        for number in range(len(data)):
            self.wfile.write(data[number : number + 1])
            time.sleep(0.01)

    def _without_end(self, fault: str) -> None:
        if fault == "drip header":
            return self._drip(b"HTTP/1.0 200 OK\r\nX-Filler: " + b"x" * 60_000)
        if fault == "endless header":
            while True:
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        self.send_response(302 if fault.startswith("to ") else 200)
        if fault.startswith("to "):
            self.send_header("Location", fault.removeprefix("to "))
        if fault == "huge":
            self.send_header("Content-Length", str(2**40))
        self.end_headers()
        while True:
            self.wfile.write(b" " * 65536)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    every = int(sys.argv[2])
    server = FaultyServer(Path(sys.argv[1]), fault=lambda name, number: "drop" if number % every == every - 1 else None)
    print(server.server_address[1], flush=True)
    server.serve_forever()
