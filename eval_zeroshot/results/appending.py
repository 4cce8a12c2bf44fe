"""Files that grow line by line: by one process at a time, each addition on disk whole or not at all."""

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from encoders.errors import InputError, InputWarning
from encoders.files import check_output_folder, write_errors
from encoders.locks import lock
from encoders.messages.words import counted


class AppendedFile:
    """A file to add text to, which no other process adds to meanwhile; where the system has no locks, it is trusted.

    A file that is still empty at the end is removed.

    Args:
        path: made if it is not there, its folder too. It ends at its last newline: what a killed process left behind that is
            cut off, with a warning.

    Raises:
        InputError: another process adds to it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_output_folder(path.parent)
        with write_errors(path):
            self._stream = _opened_alone(path)
        try:
            with write_errors(path):
                drop_torn_line(path)
        except BaseException:
            self.close()
            raise

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been added yet, by anyone."""
        return os.fstat(self._stream.fileno()).st_size == 0

    def append(self, text: str) -> None:
        """Add text; it is on disk when this returns, and none of it is in the file when this raises.

        Raises:
            InputError: it cannot be written, as on a full disk.
        """
        with write_errors(self.path):
            append_whole(self._stream, text)

    def close(self) -> None:
        """Let others add to it."""
        if self._stream.closed:
            return
        if self.is_empty:
            with suppress(OSError):  # Windows removes no open file
                self.path.unlink(missing_ok=True)  # before the lock goes, so that it is not another's
        self._stream.close()


def append_text(path: Path, text: str) -> None:
    """Add text to a file, which is made if it is not there; all of it is on disk when this returns, or none of it is there.

    Raises:
        InputError: it cannot be written, as on a full disk.
    """
    with write_errors(path), path.open("ab", buffering=0) as stream:
        append_whole(stream, text)


def append_whole(stream: Any, text: str) -> None:
    """Add text to an unbuffered binary stream that appends; where that fails, the file gets its length back."""
    size = os.fstat(stream.fileno()).st_size
    try:
        rest = memoryview(text.encode())
        while rest:
            rest = rest[stream.write(rest) :]
        os.fsync(stream.fileno())
    except BaseException:
        with suppress(OSError):
            stream.truncate(size)
        raise


def drop_torn_line(path: Path) -> None:
    """Cut an unterminated last line off a file of lines, with a warning; it was never finished."""
    if not path.is_file():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        lost = counted(len(data) - whole, "byte")
        warnings.warn(f"{path}: dropped an unfinished last line of {lost}", InputWarning, stacklevel=3)
        with path.open("r+b") as stream:
            stream.truncate(whole)


def _opened_alone(path: Path) -> Any:
    """An unbuffered stream that appends to the file that `path` is now, locked."""
    while True:
        stream = path.open("ab", buffering=0)
        try:
            if not lock(stream, wait=False, required=False):
                raise InputError(f"{path} is being written by another process; wait until it ends, or choose another --out")
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        except FileNotFoundError:  # its last user has just removed it
            pass
        except BaseException:
            stream.close()
            raise
        stream.close()
