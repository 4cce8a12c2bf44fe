"""Reader of annotation files, which may be large and are untrusted."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.files import read_bounded
from encoders.untrusted import parse_json

MAX_BYTES = 2**33  # eight times LVIS's training annotations


def read_annotation_json(path: Path | str, *, expected: str) -> Any:
    """The value in a JSON file of annotations or results.

    Its numbers may be NaN or infinite, and its texts hold half of a surrogate pair: who uses such a value refuses it by name.

    Args:
        expected: what the file was to be, for an error.

    Raises:
        InputError: it is missing, no file, larger than 8 GiB, or no JSON.
    """
    try:
        content = read_bounded(Path(path), max_bytes=MAX_BYTES, name=str(path))
    except InputError as error:
        raise InputError(f"{str(error).removesuffix('; expected a file')}; expected {expected}") from error
    try:
        return parse_json(content, name="it", finite=False)
    except InputError as error:
        with suppress(ValueError, RecursionError):  # NaN or half a surrogate pair costs one photo, not the file
            return json.loads(content.decode())
        reason = str(error).partition(";")[0]
        raise InputError(f"{path} is not valid json: {reason}; expected {expected}") from error
