"""Commands that train: distil, quickstart."""

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from distill.config import DistillConfig, read_config

ConfigOption = Annotated[str, typer.Option("--config", "-c", help="A YAML file, or the name of a shipped config.")]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045 (typer on Python 3.10)
    typer.Option("--set", help="Override a key, e.g. --set optim.lr=5e-4. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def distill(
    config: ConfigOption,
    set_: SetOption = None,
    num_processes: Annotated[int, typer.Option(help="Processes on this machine: one a GPU.")] = 1,
    json_: JsonOption = False,
) -> None:
    """The DeepSpeed run; run it again to continue it.

    Example: repvit-sam distill --config distill_repvit_m2_3_sa1b --set data.cache=/data/cache --num-processes 8
    """
    run = read_config(config, DistillConfig, overrides=set_ or [])
    if num_processes > 1:
        from distill.launch import launch

        arguments = ["distill", "--config", config]
        for override in set_ or []:
            arguments += ["--set", override]
        code = launch(arguments, num_processes=num_processes)
        if code:
            raise typer.Exit(code)
    else:
        from distill.loop import distill as run_distill

        run_distill(run)
    if _is_first():
        print(json.dumps({"run": str(run.folder)}) if json_ else f"run: {run.folder}")


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder of caches, runs and results.")] = Path("runs/quickstart"),
) -> None:
    """The main job on the shipped sample: teacher, cache, two students, the table. Minutes on a CPU.

    Example: repvit-sam quickstart --out runs/quickstart
    """
    from distill.quickstart import run

    run(out=out)


def _is_first() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(quickstart)
    app.command()(distill)
