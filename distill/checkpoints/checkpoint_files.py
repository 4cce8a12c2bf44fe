"""Reading, writing and verifying the files of a checkpoint."""

import os
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from distill.checkpoints.checkpoint_state import CheckpointState, not_finite
from encoders.errors import InputError
from encoders.files import atomic_path, read_bounded, sha256_file
from encoders.weights.torch_files import check_archive

STATE, READABLE, SUMS = "state.pt", "state.json", "SHA256SUMS"
SUM_LINES = re.compile(rb"([0-9a-f]{64})  state\.pt\n([0-9a-f]{64})  state\.json\n")
# Exceptions of zipfile and torch on damaged files; torch.load with weights_only runs no code from the file.
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, EOFError, AttributeError, ArithmeticError, MemoryError)
DAMAGE = (*_DAMAGE, pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error)


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a state atomically with `torch.save`.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # how torch reports a full disk: "unexpected pos 576 vs 534"
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS for the files of a checkpoint, in the format of `sha256sum -c SHA256SUMS`."""
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in (STATE, READABLE)]
    with atomic_path(folder / SUMS) as path:
        path.write_text("".join(lines))


def check_readable(folder: Path) -> None:
    """Check that the files of a checkpoint are readable, so that missing permissions are not mistaken for damage.

    Raises:
        InputError: names the first unreadable file.
    """
    for file in (folder, *(folder / name for name in (STATE, READABLE, SUMS))):
        if file.exists() and not os.access(file, os.R_OK):
            raise InputError(f"{file} cannot be read (permission denied); change its permissions, or run as its owner")


def read_state(folder: Path, *, checked: bool = False) -> CheckpointState:
    """Read a checkpoint's state to the CPU, where the optimizer keeps its step counters.

    The checksums are verified first; for checkpoints of earlier releases, which have none, those of the zip archive are.

    Args:
        checked: skip the checksums because another process has just verified them.

    Raises:
        InputError: a file is damaged, missing or of another structure, or a number is not finite; names it.
    """
    file = folder / STATE
    if not checked:
        if (folder / SUMS).exists():
            _check_sums(folder)
        else:
            if not file.exists():
                raise InputError(f"{file} does not exist")
            check_archive(file)
    try:
        state = CheckpointState.model_validate(torch.load(file, weights_only=True, map_location="cpu"))
        name = not_finite(state)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(f"{file} is not a checkpoint of this program: {place}: {first['msg']}") from error
    except DAMAGE as error:
        raise InputError(f"{file} is damaged: {_first_line(error)}") from error
    if name is not None:
        raise InputError(f"{file} is damaged: {name} holds numbers that are not finite")
    return state


def _check_sums(folder: Path) -> None:
    content = read_bounded(folder / SUMS, max_bytes=2**12, name=str(folder / SUMS))
    sums = SUM_LINES.fullmatch(content)
    if sums is None:
        raise InputError(f"{folder / SUMS} is damaged: expected the sha256 of {STATE} and {READABLE}")
    for name, digest in zip((STATE, READABLE), sums.groups(), strict=True):
        try:
            found = sha256_file(folder / name)
        except OSError as error:
            raise InputError(f"{folder / name} cannot be read ({error.strerror})") from error
        if found.encode() != digest:
            raise InputError(f"{folder / name} is damaged: its sha256 is not that of {SUMS}")


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
