"""Latencies of any origin: this command's rows from here or from a Mac, and Xcode's reports."""

from collections.abc import Iterable
from pathlib import Path

from encoders.errors import InputError
from eval_zeroshot.latency.rows import LatencyRow, latest, read_rows
from eval_zeroshot.latency.xcode import is_report, read_report


def read_latencies(sources: Iterable[str]) -> list[LatencyRow]:
    """The rows of files; of several of one measurement the last.

    Args:
        sources: JSON lines of `repvit-sam latency`, or NAME.mlperf or report.json of Xcode, the latter two also as
            MODEL=PATH or MODEL:decoder=PATH, which name the model, and the part, in the table.

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
    if is_report(path):
        if part not in (None, "", "encoder", "decoder", "everything"):
            raise InputError(f"{source}: {part!r} is no part; expected encoder, decoder or everything")
        return [read_report(path, model=name or None, part=part or None)]  # type: ignore[arg-type]
    if name is not None:
        raise InputError(f"{source}: a name is for a report of Xcode (.mlperf or .json); rows say themselves what they are of")
    return read_rows(path)
