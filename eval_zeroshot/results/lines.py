"""Lines of our own files. Each has a checksum, so that a number that was changed is not taken for a measured one."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from encoders.errors import InputError
from encoders.untrusted import json_kind, parse_json

FIELD = "crc32"


def with_checksum(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of JSON values with the field `crc32`: the checksum of the others, whatever their order and spacing."""
    return {**record, FIELD: _checksum(record)}


def parse_line(line: bytes, *, name: str, edited: str) -> tuple[dict[str, Any], bool]:
    """A line's record without its checksum, and whether it had one; lines of earlier releases have none.

    Args:
        name: what to call the line in an error.
        edited: what to do about a line that was changed.

    Raises:
        InputError: it is no JSON object, or not what its checksum says.
    """
    record = parse_json(line, name=name)
    if not isinstance(record, dict):
        raise InputError(f"{name} is {json_kind(record)}; expected a JSON object")
    if FIELD not in record:
        return record, False
    given = record.pop(FIELD)
    if given != _checksum(record):
        raise InputError(
            f"{name} was changed after it was written, as its {FIELD} {str(given)[:20]!r} shows: damaged, or edited; {edited}"
        )
    return record, True


def problem(error: Exception) -> str:
    """What is wrong, for an error message: of a pydantic error the first field and why."""
    if not isinstance(error, ValidationError):
        return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def _checksum(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"
