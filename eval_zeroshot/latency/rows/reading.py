"""Latencies of any origin: rows of this command, from here or from a Mac, and reports of Xcode."""

from collections.abc import Iterable
from pathlib import Path

from encoders.errors import InputError
from eval_zeroshot.latency.rows.files import latest, read_row_list, read_rows
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.latency.rows.xcode import is_report, read_report


def read_latencies(sources: Iterable[str]) -> list[LatencyRow]:
    """The rows of files; the last one of each measurement.

    Args:
        sources: JSON lines or the `--json` output (a file named .json) of `repvit-sam latency`; or NAME.mlperf or report.json
            of Xcode, the latter two also as MODEL=PATH or MODEL:decoder=PATH, which set the model, and the part, in the table.

    Raises:
        InputError: a file is missing, or is none of these.
    """
    return latest(row for source in sources for row in _read(source))


def _read(source: str) -> list[LatencyRow]:
    path, name, part = Path(source), None, None
    if not path.exists() and "=" in source:
        name, _, rest = source.partition("=")
        path = Path(rest)
        name, _, part = name.partition(":")
    if part not in (None, "", "encoder", "decoder", "everything"):
        raise InputError(f"{source}: unknown part {part!r}; expected encoder, decoder or everything")
    rows = None
    if path.suffix == ".json" and path.is_file():
        rows = read_row_list(path)
    if rows is None and is_report(path):
        return [read_report(path, model=name or None, part=part or None)]  # type: ignore[arg-type]
    if name is not None:
        raise InputError(f"{source}: only a report of Xcode (.mlperf or .json) can be given a name; rows name their models")
    return rows or read_rows(path)
