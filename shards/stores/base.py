"""The interface of a place where the files of a cache are kept: a folder, or a prefix in an object store."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from encoders.errors import InputError


class StoreFailure(InputError):
    """A store refuses or keeps failing: says nothing about the file, so it never counts as a bad photo or a damaged one."""


class ObjectStore(Protocol):
    """Files under names like "manifest.jsonl" or "work/shards/train-000000.tar.json". Can be pickled, used in threads.

    Every method raises StoreFailure, naming the file's URL and what to do, if the store refuses or keeps failing.

    Attributes:
        url: of the place, without credentials.
    """

    url: str

    def where(self, name: str) -> str:
        """Return a file's URL or path for messages."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes; None if there is none."""

    def facts(self, name: str) -> tuple[int, int]:
        """Return a file's size in bytes, and a number that changes when it is written. Raises FileNotFoundError."""

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        """Read a small file; None if there is none. Raises InputError if it is larger than `max_bytes`."""

    def read_range(self, name: str, *, start: int, size: int) -> bytes:
        """Read up to `size` bytes from byte `start` on. Raises FileNotFoundError if there is no such file."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading forward and in places; small reads are joined to blocks."""

    def list(self, folder: str = "") -> dict[str, int]:
        """Return names (relative to the place) and sizes of the files directly in a folder; empty if there is none."""

    def list_all(self) -> dict[str, int]:
        """Return names and sizes of all files in all folders."""

    def put(self, name: str, content: bytes) -> None:
        """Write a small file, replacing one of its name in one step."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file unless there is one of its name; return whether this call wrote it."""

    def upload(self, name: str, path: Path, *, replace: bool = True) -> bool:
        """Write a file from a local one, and check that it has the same size and bytes.

        Args:
            replace: if False, a file of that name is kept unless it has the same bytes.

        Returns:
            Whether the file is now the local one.

        Raises:
            FileNotFoundError: the local file is gone.
        """

    def same(self, name: str, path: Path) -> bool:
        """Return whether a file is there with the bytes of a local one."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are ignored."""
