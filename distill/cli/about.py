"""Commands that show models and check the installation: models, doctor."""

import json
from typing import Annotated

import typer

from distill.cli.options import JsonOption
from distill.jobs.engine_check import try_engine
from distill.jobs.machine import machine_facts
from encoders.model_names import MODEL_NAMES


def models(json_: JsonOption = False) -> None:
    """List the model names that --model and the config key model.arch accept.

    Example: repvit-sam models --json
    """
    print(json.dumps(MODEL_NAMES) if json_ else "\n".join(MODEL_NAMES))


def doctor(
    full: Annotated[
        bool, typer.Option("--full", help="Start DeepSpeed and take one training step, which takes up to a minute.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Show the installed packages and the hardware, what is missing, and how to install it.

    Only --full tests that training works; otherwise nothing is started.

    Example: repvit-sam doctor --full
    """
    facts = machine_facts() | (try_engine() if full else {"training": "not tried; repvit-sam doctor --full starts the engine"})
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


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(models)
    app.command()(doctor)
