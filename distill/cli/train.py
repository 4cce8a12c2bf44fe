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


def adapt(
    photos: Annotated[str, typer.Argument(help="Photos without masks: a folder, a tar, or a COCO json.")],
    student: Annotated[str, typer.Option(help="Student to start from: a run folder, or a checkpoint file.")],
    out: Annotated[Path, typer.Option(help="Folder for the cache, the adapted student and results.")],
    arch: Annotated[str | None, typer.Option(help="Architecture of the student where it is a checkpoint file.")] = None,
    teacher: Annotated[str, typer.Option(help="Teacher: a model name, a run folder, or a checkpoint file.")] = "sam_demo",
    teacher_arch: Annotated[
        str | None, typer.Option(help="Architecture of the teacher where its file does not say it.")
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(help="Other photos of the kind; both students' agreement with the teacher is measured on them."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Adapt an earlier student to photos of your own, without masks: cache the teacher, train on its masks, measure.

    Run it again to continue. --set changes the training, as the config own_photos_adapt describes it.

    Example: repvit-sam adapt my_photos --student runs/repvit_m0_9 --held-out other_photos --out runs/adapted
    """
    from distill.jobs.adapt import Adaptation
    from distill.jobs.adapt import adapt as run_adapt

    job = Adaptation(
        photos=photos,
        student=student,
        arch=arch,
        teacher=teacher,
        teacher_arch=teacher_arch,
        held_out=held_out,
        out=check_local_folder(out, name="--out"),
        overrides=tuple(set_ or ()),
    )
    print(f"run: {run_adapt(job)}")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(quickstart)
    app.command()(distill)
    app.command()(adapt)
