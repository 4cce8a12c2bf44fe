"""Commands that time models: latency, latency table, latency plot."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.eval_group import OptionsMean
from encoders.errors import InputError
from encoders.files import atomic_path, check_output
from eval_zeroshot import read_results
from eval_zeroshot.latency import LabSettings, Pace, append_rows, latency_grids, read_latencies, run_lab
from eval_zeroshot.latency.needs import check_installed
from eval_zeroshot.latency.subjects import RUNTIMES, check_parts, check_runtimes, name_models
from eval_zeroshot.latency.writing import FORMATS, write_table

RUN = "run"
FAILED = 1  # exit code where a subject could not be timed


class OptionsMeanRun(OptionsMean):
    """A group where `latency -m ...` is short for `latency run -m ...`."""

    meant = RUN


latency_app = typer.Typer(cls=OptionsMeanRun, no_args_is_help=True)


@latency_app.callback()
def _latency() -> None:
    """How long models take here, beside what phones and papers say.

    Time models, options alone (the same as `latency run`): repvit-sam latency -m ours=runs/my_run --untrained tiny_vit \\
    --runtime torch --runtime onnxruntime --baseline tiny_vit

    One table of several machines: repvit-sam latency table latency.jsonl mac.jsonl iphone.mlperf

    Accuracy against latency: repvit-sam latency plot --results results.jsonl --latency latency.jsonl --out plot.png
    """


def run(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Run folder, weights, name, or exported folder; NAME=MODEL. Repeatable."),
    ] = None,
    untrained: Annotated[list[str] | None, typer.Option(help="Architecture with random weights. Repeatable.")] = None,
    runtime: Annotated[list[str] | None, typer.Option(help=f"{', '.join(RUNTIMES)}. Repeatable.")] = None,
    part: Annotated[list[str] | None, typer.Option(help="encoder, decoder, everything. Repeatable.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads of a runtime. Repeatable.")] = None,
    rounds: Annotated[int, typer.Option(help="Of calls of all subjects in turn.")] = 10,
    warm_up: Annotated[int, typer.Option(help="Rounds before them that do not count.")] = 1,
    max_seconds: Annotated[
        float | None, typer.Option(help="A subject that was called for so long sits out further rounds, but for two.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Input size; each model's own, 1024 for --untrained.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Measure images a second in such batches, too. Repeatable.")] = None,
    batch_seconds: Annotated[float, typer.Option(help="Each for so long; the original takes 10.")] = 2.0,
    baseline: Annotated[str | None, typer.Option(help="Name of a model that ratios are taken to.")] = None,
    prompts: Annotated[int, typer.Option(help="Points of a decoder call.")] = 1,
    grid: Annotated[int, typer.Option(help="Points of a side in everything mode.")] = 8,
    photo: Annotated[Path | None, typer.Option(help="For everything mode; a made-up one.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of foreign checkpoint files.")] = None,
    device: Annotated[str, typer.Option(help="Of PyTorch: cpu or cuda.")] = "cpu",
    at_once: Annotated[int | None, typer.Option(help="Subjects held at once; as memory allows.")] = None,
    allow_loaded: Annotated[
        bool, typer.Option("--allow-loaded", help="Measure although other programs are busy; rows tell.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Rows, JSON lines, added to those there.")] = Path("latency.jsonl"),
    json_: Annotated[bool, typer.Option("--json", help="Print the rows of this run as a JSON list.")] = False,
) -> None:
    """Time models in runtimes, each in a process of its own, called in turn.

    Rows are written as they are finished; an interrupted run keeps what it has. Returns 1 where something could not be timed.

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
    check_output(out)
    with stopped_like_an_interrupt():
        rows = run_lab(models, settings, keep=lambda found: append_rows(out, found), say=_say)
    if json_:
        print(json.dumps([row.model_dump(mode="json") for row in rows], allow_nan=False))
    else:
        write_table(latency_grids(rows, published=False), kind="terminal", rows=rows)
    if any(row.how == "failed" for row in rows):
        raise typer.Exit(FAILED)


def table(
    files: Annotated[list[str], typer.Argument(help="Rows of latency, from here or a Mac; Xcode's .mlperf, MODEL=FILE.")],
    format_: Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}.")] = "terminal",
    published: Annotated[bool, typer.Option(help="Show what authors print, apart, with citation.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write here instead of stdout.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """One table of the phone, the Mac and the server.

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
    check_output(out)
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        write_table(grids, kind=kind, rows=rows, stream=stream)


def plot(
    results: Annotated[list[Path], typer.Option(help="Result files of eval. Repeatable.")],
    latency: Annotated[list[str], typer.Option(help="As the files of latency table. Repeatable.")],
    out: Annotated[Path, typer.Option(help="Picture to write, PNG.")] = Path("latency.png"),
    suite: Annotated[str | None, typer.Option("--suite", "-s", help="Whose number is the accuracy.")] = None,
    data: Annotated[str | None, typer.Option(help="Name of the data set, as the results have it.")] = None,
    part: Annotated[str, typer.Option(help="encoder, decoder or everything.")] = "encoder",
    threads: Annotated[int | None, typer.Option(help="Where rows of several are given.")] = None,
    device: Annotated[str | None, typer.Option(help="Where rows of several are given.")] = None,
    runtime: Annotated[list[str] | None, typer.Option(help="Only these runtimes. Repeatable.")] = None,
) -> None:
    """A picture of accuracy against latency; models are matched by their names.

    Example: repvit-sam latency plot --results results.jsonl --latency latency.jsonl --suite box --out plot.png
    """
    from eval_zeroshot.latency.plot import choose, draw

    (checked,) = check_parts([part])
    found = [result for path in results for result in read_results(path)]
    picture = choose(
        found,
        read_latencies(latency),
        suite=suite,
        dataset=data,
        part=checked,
        threads=threads,
        device=device,
        runtimes=runtime or [],
    )
    check_output(out)
    draw(picture, out)
    if picture.left_out:
        print(f"note: left out, as only one of accuracy and latency is known: {', '.join(picture.left_out)}", file=sys.stderr)
    print(out)


@contextmanager
def stopped_like_an_interrupt() -> Iterator[None]:
    """Let a request to end, as schedulers send it, be met like Ctrl-C: what was measured is written first."""

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
