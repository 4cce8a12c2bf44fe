"""Validation of output folders, which must be local paths rather than URLs."""

import re
from pathlib import Path

from encoders.errors import InputError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+:/")  # also s3:/bucket, which is what pathlib makes of s3://bucket


def check_local_folder(text: Path | str, *, name: str) -> Path:
    """Return the path of a local or mounted folder; nothing is created or opened.

    Args:
        text: as a user gave it.
        name: what gave it, e.g. "out" or "--out".

    Raises:
        InputError: it is a URL, which as a path would name a folder like ./s3:/bucket; or no path at all.
    """
    given = str(text)
    if URL.match(given):
        raise InputError(
            f"{name}={given} is a URL; expected a folder of this machine or one mounted there: write to such a folder, then"
            " copy it. A folder of that very name can be given as an absolute path"
        )
    if not given or "\0" in given:
        raise InputError(f"{name}={given!r} is not a folder name; expected a folder of this machine or one mounted there")
    return Path(given)
