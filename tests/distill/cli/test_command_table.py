"""The table of commands says what the commands themselves say, and every help reads well and has an example."""

import re
import shlex
from pathlib import Path

import pytest

import distill.cli
from distill.cli.app import COMMANDS, Commands
from distill.cli.lazy_group import unwrapped

FOLDER = Path(distill.cli.__path__[0])


def all_commands(command, *names):
    """(names, command) of a command and all below it."""
    yield names, command
    for name, below in getattr(command, "commands", {}).items():
        yield from all_commands(below, *names, name)


EVERY = [names for name in COMMANDS for names, _ in all_commands(Commands.load(name), name)]


def find(names):
    command = Commands.load(names[0])
    for name in names[1:]:
        command = command.commands[name]
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_of_a_command_what_its_own_help_says(name):
    assert COMMANDS[name].help == Commands.load(name).help.split("\n\n")[0]


def test_every_file_of_commands_is_in_the_table():
    """A file with commands has `register`; `cache` registers what is in `verify`."""
    files = {path.stem for path in FOLDER.glob("*.py") if "\ndef register(" in path.read_text()} - {"verify"}
    named = {module for entry in COMMANDS.values() for module in entry.modules}
    assert len(files) > 12
    assert files <= named


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_help_is_wrapped_at_the_width_of_the_terminal_and_nowhere_else(command, monkeypatch, names, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = command(*names, "--help")
    prose = out.partition("╭")[0]
    assert code == 0 and len(prose.split()) > 5 and "\\" not in prose
    for paragraph in re.split(r"\n\s*\n", prose):
        lines = [line.rstrip() for line in paragraph.splitlines() if line.strip()]
        if lines and not lines[0].lstrip().startswith("Usage:"):
            for line, following in zip(lines, lines[1:], strict=False):
                assert len(line) + 1 + len(following.split()[0]) >= columns, f"{line!r} ends early"


def test_a_paragraph_is_one_line_and_a_continued_command_stays_a_command():
    text = "One\ntwo.\n\n    Example: repvit-sam a -m b \\\n    --out c\n\nrepvit-sam a\n\\ -s box\n"
    assert unwrapped(text) == "One two.\n\nExample: repvit-sam a -m b --out c\n\nrepvit-sam a -s box"


def examples(command):
    """The calls of `repvit-sam` in a command's help, as arguments."""
    calls = re.findall(r"repvit-sam ([^`\n]*)", command.help or "")
    return [shlex.split(re.split(r"[;.,)]*(?:\s|$)(?=[A-Z][a-z]+ )", call)[0]) for call in calls]


def parse(arguments):
    """Let a command read its arguments as if it were called; it is not run."""
    name, *rest = arguments
    command = Commands.load(name)
    while hasattr(command, "commands"):
        if rest and rest[0] in command.commands:
            name, *rest = rest
        else:
            name = command.meant  # `eval -m ...` is short for `eval models -m ...`
        command = command.commands[name]
    if rest != ["--help"]:
        command.make_context(name, rest)


@pytest.mark.parametrize("names", [names for names in EVERY if names != ("cache",)], ids=" ".join)
def test_the_example_is_a_call_that_the_command_understands(names):
    """The group `cache` only says what is below it."""
    found = [call for call in examples(find(names)) if call and call[0] == names[0]]
    assert found, "no example"
    for call in found:
        parse(call)
