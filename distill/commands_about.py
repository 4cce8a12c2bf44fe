"""Commands that look around: models, doctor."""

import importlib.metadata
import json
import os
import platform
import re
from typing import Any

import typer

import encoders
from distill.options import JsonOption
from distill.versions import DISTRIBUTION, installed_version, reported_versions
from encoders.registry import SHIPPED_WEIGHTS


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
    facts = machine_facts()
    if json_:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            print(f"{key}:" + ("" if value else " nothing"))
            for name, detail in value.items():
                print(f"  {name}: {', '.join(detail) if isinstance(detail, list) else detail}")
        else:
            print(f"{key}: {', '.join(value) if isinstance(value, list) else value}")


def machine_facts() -> dict[str, Any]:
    """Versions, devices, engine and what is missing; JSON types only."""
    import torch

    from distill.place import cuda_wanted

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "versions": {name: version or "not installed" for name, version in reported_versions().items()},
        "cpu cores": os.cpu_count(),
        "gpus": gpus or "none",
        "training": engine_state(f"{len(gpus)} x CUDA with NCCL" if cuda_wanted() else "the CPU with gloo"),
        "shipped weights": {name: "there" if path.is_file() else "missing" for name, path in SHIPPED_WEIGHTS.items()},
        "missing": {f"pip install '{DISTRIBUTION}[{extra}]'": names for extra, names in missing_extras().items()},
    }


def engine_state(device: str) -> str:
    """Whether DeepSpeed can be imported, and what it would train on."""
    from distill.engine import import_deepspeed

    try:
        import_deepspeed()
    except Exception as error:  # whatever a broken CUDA or compiler setup makes its import raise: that is the finding
        return f"DeepSpeed does not start: {type(error).__name__}: {error}"
    return f"DeepSpeed on {device}"


def missing_extras() -> dict[str, list[str]]:
    """Extra -> packages of it that are not installed, as this distribution's own metadata lists them."""
    missing: dict[str, list[str]] = {}
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return missing
    for requirement in requirements:
        name, extra = re.match(r"[\w.-]+", requirement), re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name and extra and installed_version(name[0]) is None:
            missing.setdefault(extra[1], []).append(name[0])
    return missing


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(models)
    app.command()(doctor)
