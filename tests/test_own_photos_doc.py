"""The commands of docs/own_photos.md are ones that there are, with configs that there are."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from distill.cli.app import Commands

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "docs" / "own_photos.md"


def lines():
    return re.findall(r"^repvit-sam (.*)$", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_all_of_them_are_looked_at():
    assert [line.split()[0] for line in lines()] == ["precompute", "distill", "adapt", "eval", "eval", "masks", "eval"]


@pytest.mark.parametrize("line", lines())
def test_a_command_knows_its_options_and_config(line):
    name, *arguments = shlex.split(line)
    command = Commands.load(name)
    command = command.get_command(typer.Context(command), "models") if name == "eval" else command
    context = command.make_context(name, arguments)  # fails where an option is unknown or missing
    if "config" in context.params:
        assert (ROOT / "configs" / f"{context.params['config']}.yaml").is_file()
