"""The command that shows the zero-shot suites: suites."""

import json
from dataclasses import asdict

import typer

from distill.cli.options import JsonOption
from eval_zeroshot.suites.about import ABOUT


def suites(json_: JsonOption = False) -> None:
    """The suites that `eval --suite` knows, with what each measures and the data it needs.

    Example: repvit-sam suites --json
    """
    if json_:
        print(json.dumps({name: asdict(about) for name, about in ABOUT.items()}))
        return
    for name, about in ABOUT.items():
        print(f"{name}\n  measures: {about.measures}\n  data: {about.data}")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(suites)
