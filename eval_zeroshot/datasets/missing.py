"""What readers of folders say of files that are not there."""

from collections.abc import Sequence

from encoders.errors import InputError
from encoders.messages.words import counted


def check_missing(
    missing: Sequence[object],
    *,
    of: int,
    unit: str,
    where: object,
    how_to_get: str,
    lack: str = "missing",
    none: str | None = None,
) -> None:
    """Refuse a data set with missing files.

    Args:
        missing: names of what is missing, in order.
        of: how many of `unit` there should be.
        lack: how they are missing, e.g. "without a mask".
        none: what to say where there should be 0 of them, e.g. "no *.jpg"; None lets that pass.

    Raises:
        InputError: says what is missing, how many of how many, and where to get it.
    """
    found = f"{len(missing)} of {counted(of, unit)} {lack}, {missing[0]} first" if missing else none
    if missing or (not of and none is not None):
        raise InputError(f"{where}: {found}. {how_to_get}")
