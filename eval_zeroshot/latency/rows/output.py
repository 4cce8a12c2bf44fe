"""Check of files that this package writes, before the work."""

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
