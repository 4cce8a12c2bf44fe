"""The command that scores edge maps of other programs: eval edges."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from distill.cli.eval_group import eval_app
from distill.cli.options import JsonOption
from distill.jobs.progress import every_few_seconds
from eval_zeroshot.suites.edges.benchmark import EdgeReport, score_predictions
from eval_zeroshot.suites.edges.prediction import THRESHOLDS


def edges(
    predictions: Annotated[Path, typer.Option(help="Folder of NAME.png (8 bits, 255 strongest) or NAME.mat (ucm2, segs).")],
    data: Annotated[Path, typer.Option(help="BSDS500 as downloaded, or its data folder.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    thresholds: Annotated[int, typer.Option(help="Number of thresholds; published numbers use 99.")] = THRESHOLDS,
    processes: Annotated[int | None, typer.Option(help="Number of photos scored in parallel (default: one per core).")] = None,
    json_: JsonOption = False,
) -> None:
    """Run the BSDS500 boundary benchmark on edge maps, which must be thinned by non-maximum suppression.

    Example: repvit-sam eval edges --predictions my_edges --data BSDS500 --split test --json
    """
    say = every_few_seconds()
    report = score_predictions(
        predictions,
        data=data,
        split=split,
        thresholds=thresholds,
        processes=processes or usable_cores(),
        progress=lambda done, total: say(f"photo {done}/{total}", last=done == total),
    )
    if json_:
        print(json.dumps(report.json(), allow_nan=False))
    else:
        _print(report)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print(report: EdgeReport) -> None:
    scores = report.scores
    table = Table(title=f"Edges on {len(report.photos)} of {report.split_photos} photos", caption=report.protocol)
    cells = {"ODS": scores.ods.f, "at level": scores.ods.level, "OIS": scores.ois, "AP": scores.ap, "R50": scores.r50}
    for name in cells:
        table.add_column(name, justify="right")
    table.add_row(*("–" if value is None else f"{value:.3f}" for value in cells.values()))
    Console().print(table)


def register(app: typer.Typer) -> None:
    """Add this file's command to the group."""
    eval_app.command()(edges)
