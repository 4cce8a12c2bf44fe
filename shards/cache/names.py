"""Conversion between shard numbers and shard file names."""

import re

from encoders.errors import InputError
from encoders.messages.shown import shown

PATTERN = re.compile(r"train-([0-9]{6,12})\.tar")
MAX_SHOWN = 80  # characters of a name from outside, in a message


def shard_name(index: int) -> str:
    """0 -> "train-000000.tar"."""
    return f"train-{index:06d}.tar"


def shard_index(name: str) -> int:
    """"train-000000.tar" -> 0.

    Raises:
        InputError: the name is not one that `shard_name` produces.
    """
    match = PATTERN.fullmatch(name)
    if match is None or shard_name(int(match[1])) != name:
        raise InputError(f"{shown(name[:MAX_SHOWN])!r} is not a shard name; expected train-NNNNNN.tar")
    return int(match[1])


def is_shard_name(name: str) -> bool:
    """Return whether a file name is a shard name; a path with folders never is."""
    try:
        shard_index(name)
    except InputError:
        return False
    return True
