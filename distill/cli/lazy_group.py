"""A command group with names and short help known in advance, which imports a command only when it is used."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from distill.cli.ending import ends_quietly


@dataclass(frozen=True)
class Entry:
    """Description of a command that is not imported yet.

    Attributes:
        help: the first paragraph of its help.
        modules: files of `distill`, each with a function `register(app)`; one of them registers the command.
    """

    help: str
    modules: tuple[str, ...]


class LazyGroup(TyperGroup):
    """The commands of a table `entries`, in its order, and those registered with typer."""

    entries: ClassVar[Mapping[str, Entry]]
    loaded: ClassVar[dict[str, Any]]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        registered = self.commands
        self.commands = {name: TyperCommand(name, help=entry.help) for name, entry in self.entries.items()}
        self.commands |= registered

    def make_context(self, *given: Any, **more: Any) -> Any:
        with ends_quietly():
            return super().make_context(*given, **more)

    def invoke(self, ctx: Any) -> Any:
        with ends_quietly():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        known = command.name if command is not None else None
        return name, self.load(known) if known is not None and known in self.entries else command, rest

    @classmethod
    def load(cls, name: str) -> Any:
        """Import a command of the table; a group is registered only once per process."""
        if name not in cls.loaded:
            app = typer.Typer()
            app.callback()(_nothing)  # makes it a group also where it has a single command
            for module in cls.entries[name].modules:
                importlib.import_module(f"distill.cli.{module}").register(app)
            command = get_group(app).commands[name]
            unwrap_help(command)
            cls.loaded[name] = command
        return cls.loaded[name]


def unwrap_help(command: Any) -> None:
    """Give a command and all below it help whose paragraphs are one line each, to be wrapped to the terminal's width."""
    command.help = unwrapped(command.help) if command.help else None
    for below in getattr(command, "commands", {}).values():
        unwrap_help(below)


def unwrapped(text: str) -> str:
    """Join each paragraph of a text to a single line.

    A backslash that continues a command on the next line goes too: on one line it would be part of the command.
    """
    paragraphs = (paragraph.strip() for paragraph in re.split(r"\n\s*\n", text))
    return "\n\n".join(re.sub(r"\s*\\?\n\s*(\\\s+)?", " ", paragraph) for paragraph in paragraphs if paragraph)


def _nothing() -> None:
    """The callback of a group that is never called."""
