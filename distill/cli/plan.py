"""`repvit-sam plan`: what a run will take, before it is started."""

import json
from typing import Annotated

import typer

from distill.cli.options import ConfigOption, JsonOption, SetOption
from distill.config.reading import find_config, read_config, read_run
from distill.config.runs import MaskRun, PrecomputeConfig
from distill.jobs.planning.gpu_rates import get_gpu
from distill.jobs.planning.plan import plan_distil_run, plan_facts, plan_precompute_run, plan_table
from encoders.errors import InputError
from encoders.untrusted import read_yaml


def plan(
    config: ConfigOption,
    set_: SetOption = None,
    gpu: Annotated[str | None, typer.Option(help="Calculate for a100 or h100 (default: measure this device).")] = None,
    gpus: Annotated[int, typer.Option(help="Number of GPUs, with one process each.")] = 1,
    photos: Annotated[int | None, typer.Option(help="Samples of a cache that does not exist yet.")] = None,
    json_: JsonOption = False,
) -> None:
    """Estimate the disk, hours and memory of a precompute or a distillation, and name what limits it. Nothing is written.

    A handful of photos are read, and a few batches are computed where no --gpu is given. Every number says whether it was
    measured here or is arithmetic; what a GPU reaches of its peak is an assumption, which the table states.

    Example: repvit-sam plan --config precompute_sa1b_vit_h --set source.path=/data/sa1b --gpu h100 --gpus 8
    """
    if gpus < 1:
        raise InputError(f"--gpus {gpus}: expected at least 1")
    known, content = None if gpu is None else get_gpu(gpu), read_yaml(find_config(config))
    if isinstance(content, dict) and "source" in content:
        made = plan_precompute_run(read_config(config, PrecomputeConfig, overrides=set_ or []), gpu=known, gpus=gpus)
    else:
        job = read_run(config, overrides=set_ or [])
        if isinstance(job, MaskRun):
            raise InputError(f"{config} is a run of stage mask; plan knows precompute and the stages embedding and prompt")
        made = plan_distil_run(job, gpu=known, gpus=gpus, photos=photos)
    print(json.dumps(plan_facts(made)) if json_ else plan_table(made))


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(plan)
