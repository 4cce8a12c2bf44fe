"""Commands that time models: latency, latency table, latency plot."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli.eval_group import OptionsMean
from encoders.errors import InputError
from encoders.files import atomic_path, write_errors
from eval_zeroshot import read_results
from eval_zeroshot.latency import LabSettings, LatencyRow, Pace, append_rows, latency_grids, read_latencies, run_lab
from eval_zeroshot.latency.needs import check_installed
from eval_zeroshot.latency.report.writing import FORMATS, write_table
from eval_zeroshot.latency.rows.files import check_appendable
from eval_zeroshot.latency.rows.output import check_output_file
from eval_zeroshot.latency.subjects.subject import RUNTIMES, check_parts, check_runtimes, name_models

RUN = "run"
FAILED = 1  # exit code if a subject could not be timed
SEVERAL = "Required if the rows contain more than one."
AT_ONCE = (
    "Maximum number of subjects kept loaded (default: what fits in memory). The models of a runtime always stay together, so "
    "with two models both are loaded even at 1."
)


class OptionsMeanRun(OptionsMean):
    """A group where `latency -m ...` is short for `latency run -m ...`."""

    meant = RUN


latency_app = typer.Typer(cls=OptionsMeanRun, no_args_is_help=True)


@latency_app.callback()
def _latency() -> None:
    """Time models on this machine, and compare with phones and published latencies.

    Time models, options alone (the same as `latency run`): repvit-sam latency -m ours=runs/my_run --untrained tiny_vit \\
    --runtime torch --runtime onnxruntime --baseline tiny_vit

    One table of several machines: repvit-sam latency table latency.jsonl mac.jsonl iphone.mlperf

    Accuracy against latency: repvit-sam latency plot --results results.jsonl --latency latency.jsonl --out plot.png
    """


def run(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Run folder, weights, name, or exported folder; or NAME=MODEL. Repeatable."),
    ] = None,
    untrained: Annotated[list[str] | None, typer.Option(help="Architecture with random weights. Repeatable.")] = None,
    runtime: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(RUNTIMES)} (default: torch, torch_fused). Repeatable.")
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option(help="encoder, decoder, everything (default: encoder). Repeatable.")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Number of threads (default: 1). Repeatable.")] = None,
    rounds: Annotated[int, typer.Option(help="Number of timed rounds.")] = 10,
    warm_up: Annotated[int, typer.Option(help="Warm-up rounds, not counted.")] = 1,
    max_seconds: Annotated[
        float | None,
        typer.Option(help="A subject whose calls have taken this long skips the remaining rounds, but has at least two."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Input size (default: each model's own, 1024 for --untrained).")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Also measure throughput at this batch size. Repeatable.")] = None,
    batch_seconds: Annotated[float, typer.Option(help="Seconds per batch size; the original script takes 10.")] = 2.0,
    baseline: Annotated[str | None, typer.Option(help="Model that the others are compared with.")] = None,
    prompts: Annotated[int, typer.Option(help="Number of points in a decoder call.")] = 1,
    grid: Annotated[int, typer.Option(help="Points per side of the grid in everything mode.")] = 8,
    photo: Annotated[Path | None, typer.Option(help="Photo for everything mode (default: synthetic).")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of foreign checkpoint files.")] = None,
    device: Annotated[str, typer.Option(help="Device of PyTorch's runtimes: cpu or cuda.")] = "cpu",
    at_once: Annotated[int | None, typer.Option(help=AT_ONCE)] = None,
    allow_loaded: Annotated[
        bool, typer.Option("--allow-loaded", help="Measure although other programs are busy; affected rows are marked.")
    ] = False,
    out: Annotated[Path, typer.Option(help="JSON-lines file to append to.")] = Path("latency.jsonl"),
    json_: Annotated[bool, typer.Option("--json", help="Print the rows of this run as a JSON list.")] = False,
) -> None:
    """Time models in several runtimes, each in its own process, called in turn.

    Rows are written as soon as they are finished; an interrupted run keeps them. The exit code is 1 if something could not be
    timed.

    Example: repvit-sam latency --untrained repvit_m1_1 --untrained tiny_vit --runtime torch_fused --runtime onnxruntime \\
    --threads 1 --threads 2 --baseline tiny_vit
    """
    models = name_models(model or [], untrained or [])
    settings = LabSettings(
        runtimes=check_runtimes(runtime or ["torch", "torch_fused"]),
        parts=check_parts(part or ["encoder"]),
        threads=threads or [1],
        pace=Pace(rounds=rounds, warm_up=warm_up, max_seconds=max_seconds),
        image_size=image_size,
        batches=batch or [],
        seconds=batch_seconds,
        baseline=baseline,
        at_once=at_once,
        device=device,
        prompts=prompts,
        grid=grid,
        photo=photo,
        allow_loaded=allow_loaded,
        arch=arch,
    )
    check_installed(models, settings.runtimes)
    check_appendable(out)

    def show(found: list[LatencyRow]) -> None:
        if json_:
            print(json.dumps([row.model_dump(mode="json") for row in found], allow_nan=False))
        else:
            write_table(latency_grids(found, published=False), kind="terminal", rows=found)

    def keep(found: list[LatencyRow]) -> None:
        try:
            append_rows(out, found)
        except InputError:  # minutes of measuring must not be lost to a full disk
            show(found)
            raise

    with stopped_like_an_interrupt():
        rows = run_lab(models, settings, keep=keep, say=_say)
    show(rows)
    if any(row.how == "failed" for row in rows):
        raise typer.Exit(FAILED)


def table(
    files: Annotated[
        list[str],
        typer.Argument(help="Files of latency, from here or a Mac; Xcode's .mlperf, also as MODEL=FILE or MODEL:decoder=FILE."),
    ],
    format_: Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}.")] = "terminal",
    published: Annotated[bool, typer.Option(help="Add a table of published latencies with citations.")] = True,
    out: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show latencies of several machines in one table.

    Example: repvit-sam latency table latency.jsonl mac.jsonl repvit_m1_1=iphone.mlperf --format markdown
    """
    kind = "json" if json_ else format_
    if kind not in FORMATS:
        raise InputError(f"--format {kind}: expected one of {', '.join(FORMATS)}")
    rows = read_latencies(files)
    grids = latency_grids(rows, published=published)
    if out is None:
        write_table(grids, kind=kind, rows=rows)
        return
    check_output_file(out)
    with write_errors(out), atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        write_table(grids, kind=kind, rows=rows, stream=stream)


def plot(
    results: Annotated[list[Path], typer.Option(help="Results file of eval. Repeatable.")],
    latency: Annotated[list[str], typer.Option(help="File as for latency table. Repeatable.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("latency.png"),
    suite: Annotated[str | None, typer.Option("--suite", "-s", help="Suite used as accuracy.")] = None,
    suite_version: Annotated[str | None, typer.Option(help="Version of the suite, if there are several.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol of the suite, if there are several.")] = None,
    data: Annotated[str | None, typer.Option(help="Data set name in the results.")] = None,
    padding: Annotated[
        bool | None, typer.Option("--padding/--no-padding", help="Results with or without padding, if there are both.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Only this input size (default: all).")] = None,
    part: Annotated[str, typer.Option(help="encoder, decoder or everything.")] = "encoder",
    threads: Annotated[int | None, typer.Option(help=SEVERAL)] = None,
    device: Annotated[str | None, typer.Option(help=SEVERAL)] = None,
    call: Annotated[str | None, typer.Option(help=f"What a call consists of, e.g. 'prompts 64'. {SEVERAL}")] = None,
    runtime: Annotated[list[str] | None, typer.Option(help="Only this runtime (default: all). Repeatable.")] = None,
) -> None:
    """Plot accuracy against latency. Models are paired by name and image size.

    Example: repvit-sam latency plot --results results.jsonl --latency latency.jsonl --suite box --out plot.png
    """
    from eval_zeroshot.latency.report.pairing import choose
    from eval_zeroshot.latency.report.plot import draw

    (checked,) = check_parts([part])
    found = [result for path in results for result in read_results(path)]
    picture = choose(
        found,
        read_latencies(latency),
        suite=suite,
        version=suite_version,
        protocol=protocol,
        dataset=data,
        padding=padding,
        image_size=image_size,
        part=checked,
        threads=threads,
        device=device,
        call=call,
        runtimes=runtime or [],
    )
    check_output_file(out)
    draw(picture, out)
    if picture.left_out:
        print(f"note: left out, as only one of accuracy and latency is known: {', '.join(picture.left_out)}", file=sys.stderr)
    print(out)


@contextmanager
def stopped_like_an_interrupt() -> Iterator[None]:
    """Handle SIGTERM, which schedulers send, like Ctrl-C: finished rows are written first."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    latency_app.command(RUN)(run)
    latency_app.command("table")(table)
    latency_app.command("plot")(plot)
    app.add_typer(latency_app, name="latency")
