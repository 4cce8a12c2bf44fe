"""Files that this package writes: checked beforehand, and a full disk reported in words."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoders.errors import InputError
from encoders.files import check_output, file_kind


def check_output_file(path: Path) -> None:
    """Make sure that a regular file can be written at `path`; makes its folder.

    Raises:
        InputError: a folder or a device is there, or the folder cannot be made or written to.
    """
    check_output(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a {file_kind(path.stat().st_mode)}; expected the name of a file to write")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes `path`.

    Raises:
        InputError: instead of an OSError, with the path and the free space.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise InputError(f"{path} cannot be written ({reason}, {free_mb(path):.0f} MiB free); choose another place") from error


def free_mb(path: Path) -> float:
    """Free space of the disk that a file is on, or would be on."""
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    return shutil.disk_usage(folder).free / 2**20
