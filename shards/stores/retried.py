"""An open file of an object store whose reads are tried again."""

import threading
from collections.abc import Callable
from typing import Any


class RetriedFile:
    """Reads of an fsspec file; after a failure the file is asked again from the same place.

    Args:
        file: as fsspec opens it.
        tried: does an action, again if it fails.
    """

    def __init__(self, file: Any, tried: Callable[[Callable[[], bytes]], bytes]) -> None:
        self._file, self._tried = file, tried
        self._lock = threading.Lock()
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        """Read from where the file stands."""
        with self._lock:
            content = self._tried(lambda: self._read(size))
            self._place += len(content)
            return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._place = int(self._file.seek(offset, whence))
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def _read(self, size: int) -> bytes:
        self._file.seek(self._place)
        return bytes(self._file.read(size))
