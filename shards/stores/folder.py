"""A folder as an object store: what `file://` URLs name."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError
from encoders.files import atomic_path, read_bounded, sha256_file

PARTS = ".tmp"  # suffix of what atomic_path writes first


class FolderObjects:
    """Files in a folder of this machine; see `shards.stores.base.ObjectStore`. Writes are atomic renames.

    Args:
        folder: made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)

    def where(self, name: str) -> str:
        return str(self.folder / name)

    def size(self, name: str) -> int | None:
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def facts(self, name: str) -> tuple[int, int]:
        facts = (self.folder / name).stat()
        return facts.st_size, facts.st_mtime_ns

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        path = self.folder / name
        try:
            return read_bounded(path, max_bytes=max_bytes, name=str(path))
        except InputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def read_range(self, name: str, *, start: int, size: int) -> bytes:
        with (self.folder / name).open("rb") as file:
            return os.pread(file.fileno(), size, start)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        with (self.folder / name).open("rb") as file:
            yield file

    def list(self, folder: str = "") -> dict[str, int]:
        place = self.folder / folder
        prefix = f"{folder}/" if folder else ""
        found = place.iterdir() if place.is_dir() else ()
        return {f"{prefix}{p.name}": p.stat().st_size for p in found if p.is_file() and not p.name.endswith(PARTS)}

    def list_all(self) -> dict[str, int]:
        found = {}
        for root, _, names in os.walk(self.folder):
            for path in (Path(root, name) for name in names):
                if path.is_file() and not path.name.endswith(PARTS):
                    found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
        return found

    def put(self, name: str, content: bytes) -> None:
        path = self._path(name)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)

    def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        made = path.with_name(f"{path.name}.{os.urandom(8).hex()}{PARTS}")
        with atomic_path(made) as temporary:
            temporary.write_bytes(content)
        try:
            os.link(made, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            return _created_by_name(path, content)
        finally:
            made.unlink(missing_ok=True)
        return True

    def upload(self, name: str, path: Path, *, replace: bool = True) -> bool:
        target = self._path(name)
        if not replace and target.exists():
            return self.same(name, path)
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
        return self.same(name, path)

    def same(self, name: str, path: Path) -> bool:
        there = self.folder / name
        return self.size(name) == path.stat().st_size and sha256_file(there) == sha256_file(path)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _created_by_name(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True
