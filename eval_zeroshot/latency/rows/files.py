"""Files of latency rows, one JSON line each, and JSON lists of rows."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from encoders.errors import InputError, InputWarning
from encoders.files import read_bounded, write_errors
from encoders.untrusted import parse_json, whole_lines
from eval_zeroshot.latency.rows.output import check_output_file
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.results.appending import append_text, drop_torn_line
from eval_zeroshot.results.lines import problem

MAX_BYTES = 2**26  # of a file of rows


def check_appendable(path: Path) -> None:
    """Make sure, before anything is measured, that rows can be appended to `path`.

    Raises:
        InputError: a file that is not a file of rows is there, or the folder cannot be written to.
    """
    check_output_file(path)
    if path.exists() and path.stat().st_size:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)  # comes when rows are appended
                read_rows(path)
        except InputError as error:
            raise InputError(f"--out {path}: a file with other content is there; choose another name ({error})") from error


def append_rows(path: Path, rows: Iterable[LatencyRow]) -> None:
    """Append finished rows to a file, all or none, and make sure that they are on disk. A killed writer's fragment is cut off.

    Raises:
        InputError: the file cannot be written, as on a full disk.
    """
    with write_errors(path):
        end_last_line(path)
    append_text(path, "".join(row.to_line() for row in rows))


def end_last_line(path: Path) -> None:
    """Give the last line of a file its newline if it is a whole row, and drop it with a warning if it is a fragment."""
    if not path.is_file():
        return
    _, last = whole_lines(path.read_bytes())
    if last:
        try:
            parse(LatencyRow, last, where=str(path))
        except InputError:
            drop_torn_line(path)
        else:
            with path.open("ab") as stream:
                stream.write(b"\n")


def read_rows(path: Path) -> list[LatencyRow]:
    """The rows of a file that `repvit-sam latency` wrote, here or on another machine, in the file's order.

    Raises:
        InputError: the file is missing, or a line is not a row (the message names line and field).
    """
    rows = []
    lines, rest = whole_lines(read_bounded(path, max_bytes=MAX_BYTES, name=str(path)))
    for number, line in enumerate([*lines, rest], start=1):
        try:
            if line.strip():
                rows.append(parse(LatencyRow, line, where=f"{path}, line {number}: not a row of repvit-sam latency"))
        except InputError:
            if number <= len(lines):
                raise
            warnings.warn(f"{path}: line {number} is unfinished and was left out", InputWarning, stacklevel=2)
    if not rows:
        raise InputError(f"{path} has no row; expected JSON lines that repvit-sam latency wrote")
    return rows


def read_row_list(path: Path) -> list[LatencyRow] | None:
    """The rows of a JSON list, as `--json` prints it; None if the file, which must exist, is not a JSON list.

    Raises:
        InputError: it is empty, or a list of something else.
    """
    with path.open("rb") as stream:
        if not stream.read(64).lstrip().startswith(b"["):
            return None
    content = read_bounded(path, max_bytes=MAX_BYTES, name=str(path))
    rows: list[LatencyRow] = _validated(
        TypeAdapter(list[LatencyRow]).validate_python, content, where=f"{path}: not a list of rows of repvit-sam latency"
    )
    if not rows:
        raise InputError(f"{path} has no row; the list is empty")
    return rows


def parse(kind: type[Any], content: str | bytes, *, where: str) -> Any:
    """A pydantic object from JSON.

    Args:
        where: beginning of the error message: the file, and what it was expected to be.

    Raises:
        InputError: it is not JSON, or does not fit; the message names the first wrong field.
    """
    return _validated(kind.model_validate, content, where=where)


def _validated(validate: Callable[[Any], Any], content: str | bytes, *, where: str) -> Any:
    try:
        return validate(parse_json(content, name="it"))
    except (InputError, ValidationError) as error:
        raise InputError(f"{where} ({problem(error)})") from error


def latest(rows: Iterable[LatencyRow]) -> list[LatencyRow]:
    """Keep the last row of each measurement, at the first one's position.

    A row without a time never replaces a timed one, and is left out where the same subject has been timed.
    """
    found: dict[tuple[Any, ...], LatencyRow] = {}
    for row in rows:
        known = found.get(row.key)
        if known is None or known.p50_ms is None or row.p50_ms is not None:
            found[row.key] = row
    timed = [row for row in found.values() if row.p50_ms is not None]
    return [row for row in found.values() if row.p50_ms is not None or not any(_covers(other, row) for other in timed)]


def _covers(timed: LatencyRow, untimed: LatencyRow) -> bool:
    """Whether a timed row is of what another row could not time. The latter may not know image size or details."""
    same_size = untimed.image_size in (None, timed.image_size)
    return timed.subject == untimed.subject and same_size and untimed.asked.items() <= timed.asked.items()
