"""Commands that train: distil, quickstart."""

import json
import signal
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.options import ConfigOption, JsonOption, ProcessesOption, SetOption, in_processes
from distill.config.reading import read_run
from distill.launching.starter import in_group
from distill.launching.world import read_world
from encoders.local_folder import check_local_folder
from shards.cache.kept import NO_ROOM, kept


def distill(
    config: ConfigOption,
    set_: SetOption = None,
    num_processes: ProcessesOption = 1,
    json_: JsonOption = False,
) -> None:
    """Train a student with DeepSpeed, as a config describes. Resumes from the last checkpoint if interrupted.

    Needs a cache made by precompute (or, for the mask stage, photos with masks); writes the run folder. SIGTERM and Ctrl-C end
    the run after the current step, with a checkpoint. To extend a finished run, add --set schedule.steps=N.

    Example: repvit-sam distill --config distill_repvit_m2_3_sa1b_8gpu --set data.cache=/data/cache --num-processes 8
    """
    run = read_run(config, overrides=set_ or [])
    folder = run.folder
    try:
        if num_processes != 1:
            in_processes("distill", config=config, overrides=set_, num_processes=num_processes)
        else:
            from distill.loop import distill as run_distill

            with kept(folder, what="finished checkpoints are kept", causes=NO_ROOM):
                run_distill(run)
    except KeyboardInterrupt:  # before the first step
        raise typer.Exit(128 + signal.SIGINT) from None
    if read_world().rank == 0 and not in_group():
        print(json.dumps({"run": str(folder)}) if json_ else f"run: {folder}")


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the cache, runs and results.")] = Path("runs/quickstart"),
) -> None:
    """Run the whole pipeline on the shipped photos: cache a teacher, distil two students, evaluate, compare.

    Takes minutes on a CPU and needs no download.

    Example: repvit-sam quickstart --out runs/quickstart
    """
    from distill.jobs.quickstart import run

    run(out=check_local_folder(out, name="--out"))


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(quickstart)
    app.command()(distill)
