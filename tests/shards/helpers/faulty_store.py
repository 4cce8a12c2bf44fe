"""An fsspec file system in memory that fails as a test tells it to: "faulty://bucket/folder"."""

from collections.abc import Callable
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

Fault = Callable[[str, str], str | None]  # operation ("put", "write", "read"), path -> what goes wrong


class FaultyFileSystem(MemoryFileSystem):
    """Like memory://, with faults: "fail" raises an error, "cut" writes half without saying so, "late" raises after writing.

    Attributes:
        fault: says what goes wrong; of the class, as fsspec makes instances.
        calls: (operation, path, fault) of each call.
    """

    protocol = "faulty"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    cachable = False
    fault: Fault = staticmethod(lambda operation, path: None)
    calls: list[tuple[str, str, str | None]] = []

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return MemoryFileSystem._strip_protocol(str(path).replace("faulty://", "memory://"))

    def put_file(self, lpath: Any, rpath: Any, *args: Any, mode: str = "overwrite", **options: Any) -> None:
        with open(lpath, "rb") as file:
            self._write("put", rpath, file.read(), mode=mode)

    def pipe_file(self, path: Any, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._write("write", path, value, mode=mode)

    def cat_file(self, path: Any, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if self._fault("read", path) is not None:
            raise ConnectionError("the connection was reset")
        return bytes(super().cat_file(path, start=start, end=end))

    def _open(self, path: Any, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb" and self._fault("read", path) is not None:
            raise ConnectionError("the connection was reset")
        return super()._open(path, mode=mode, **options)

    def _write(self, operation: str, path: Any, content: bytes, *, mode: str) -> None:
        fault = self._fault(operation, path)
        if fault == "fail":
            raise OSError(5, "the server answers 503 Slow Down")
        super().pipe_file(path, content[: len(content) // 2] if fault == "cut" else content, mode=mode)
        if fault == "late":
            raise ConnectionError("the answer was lost")

    def _fault(self, operation: str, path: Any) -> str | None:
        fault = FaultyFileSystem.fault(operation, str(path))
        FaultyFileSystem.calls.append((operation, str(path), fault))
        return fault


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
