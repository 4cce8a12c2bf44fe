"""The command that shows the shipped configs: configs."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.options import JsonOption
from distill.config.folder import CONFIGS
from encoders.errors import InputError, did_you_mean


def configs(
    name: Annotated[str | None, typer.Argument(help="Print this config, as a starting point for your own.")] = None,
    json_: JsonOption = False,
) -> None:
    """List the shipped configs, or print one of them.

    Example: repvit-sam configs quickstart_precompute
    """
    if name is not None:
        text = shipped_config(name).read_text()
        print(json.dumps({"name": name, "text": text}) if json_ else text, end="\n" if json_ else "")
        return
    purposes = {path.stem: purpose(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))}
    if json_:
        print(json.dumps(purposes))
        return
    width = max(len(one) for one in purposes)
    for one, what in purposes.items():
        print(f"{one:{width}}  {what}")
    engines = ", ".join(sorted(path.stem for path in (CONFIGS / "deepspeed").glob("*.json")))
    print(f"\nFor --set deepspeed=NAME: {engines}")


def shipped_config(name: str) -> Path:
    """Return the file of a shipped config, by its name with or without .yaml.

    Raises:
        InputError: there is none; near misses are named.
    """
    names = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    if name.removesuffix(".yaml") not in names:
        raise InputError(f"no shipped config is called {name!r}{did_you_mean(name, names)} (shipped: {', '.join(names)})")
    return CONFIGS / f"{name.removesuffix('.yaml')}.yaml"


def purpose(text: str) -> str:
    """Return the first sentence of a config's opening comment, on one line."""
    comment = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return re.split(r"(?<=\.)\s", " ".join(comment), maxsplit=1)[0]


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(configs)
