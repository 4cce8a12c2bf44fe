"""Writes tables to a terminal or a file, in several formats."""

import csv
import json
import sys
from collections.abc import Sequence
from typing import IO, Any

from rich.console import Console

from encoders.messages.shown import shown, spreadsheet_cell
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.report.render import Grid, grid_to_markdown, print_grid

FORMATS = ("terminal", "markdown", "csv", "json")
FILE_WIDTH = 120  # characters per line of a terminal table that is written to a file
COLUMNS = (
    "model", "arch", "runtime", "runtime_name", "part", "threads", "threads_effective", "precision", "image_size", "device",
    "call", "how", "p50_ms", "p90_ms", "p99_ms", "cpu_ms", "calls", "baseline", "ratio_to_baseline", "ratio_low", "ratio_high",
    "cpu_ratio_to_baseline", "load_ms", "first_call_ms", "start_mb", "peak_mb", "device_peak_mb", "loaded",
    "other_cpu", "throughput_loaded", "complete", "note",
)  # fmt: skip


def write_table(grids: Sequence[Grid], *, kind: str, rows: Sequence[LatencyRow], stream: IO[str] | None = None) -> None:
    """Write to stdout, or to a stream.

    Args:
        kind: "terminal" and "markdown" show the grids; "csv" has one line per row; "json" is a list of complete rows.
    """
    if kind == "json":
        print(json.dumps([row.model_dump(mode="json") for row in rows], allow_nan=False), file=stream or sys.stdout)
    elif kind == "csv":
        writer = csv.DictWriter(stream or sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_cells, rows))
    elif kind == "markdown":
        print("\n\n".join(grid_to_markdown(grid) for grid in grids), file=stream or sys.stdout)
    else:
        console = Console() if stream is None else Console(file=stream, width=FILE_WIDTH)
        for grid in grids:
            print_grid(grid, console=console)


def _cells(row: LatencyRow) -> dict[str, Any]:
    values = row.model_dump(mode="json") | {"call": row.call}
    return {key: spreadsheet_cell(shown(value)) if isinstance(value, str) else value for key, value in values.items()}
