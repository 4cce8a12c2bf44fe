"""`repvit-sam export`: with options alone it exports, `export verify` checks an export again."""

import typer

from distill.cli.eval_group import OptionsMean

MAKE = "make"


class OptionsMeanMake(OptionsMean):
    """A group where `export -m ...` is short for `export make -m ...`."""

    meant = MAKE


export_app = typer.Typer(cls=OptionsMeanMake, no_args_is_help=True)


@export_app.callback()
def _export() -> None:
    """Export models for other runtimes and tools, and verify that they compute what PyTorch does.

    Make one, options alone (the same as `export make`): repvit-sam export -m runs/my_run --format onnx --out exported

    For a tool: repvit-sam export -m runs/my_run --for x-anylabeling --out exported

    Check one again: repvit-sam export verify exported
    """


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(export_app, name="export")
