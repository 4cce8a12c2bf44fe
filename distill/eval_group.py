"""`repvit-sam eval`: models on data with options alone, and a sub-command for each suite that scores files made elsewhere.

Such a suite is a file `commands_NAME.py` whose `register` calls `eval_app.command("NAME")(function)`; `distill.cli` names it.
"""

import re
from typing import Any

import typer
from typer.core import TyperGroup

MODELS = "models"  # the sub-command that is meant where options come first


class OptionsMean(TyperGroup):
    """A group where options without a sub-command are those of the sub-command `meant`, in its help too.

    Help texts of the group and its commands are shown without the line breaks of their source.
    """

    meant: str

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._shows_meant = False
        for command in (self, *self.commands.values()):
            command.help = command.help and unbroken(command.help)

    def get_params(self, ctx: Any) -> list[Any]:
        """The group's own; while help is shown, those of the command that is meant before them."""
        own: list[Any] = super().get_params(ctx)
        return [*self.commands[self.meant].params, *own] if self._shows_meant else own

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._shows_meant = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._shows_meant = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = [self.meant, *args]
        return super().parse_args(ctx, args)


def unbroken(text: str) -> str:
    """A docstring with each paragraph on one line; the terminal breaks lines by itself."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n[ \t]*\n", text.strip()))


class OptionsMeanModels(OptionsMean):
    """A group where `eval -m ...` is short for `eval models -m ...`."""

    meant = MODELS


eval_app = typer.Typer(cls=OptionsMeanModels, no_args_is_help=True)


@eval_app.callback()
def _eval() -> None:
    """Zero-shot suites of models on data; sub-commands score files made elsewhere. Run it again to continue.

    Example: repvit-sam eval -m sam_demo -s box -s point --data sample:val

    More examples: repvit-sam eval models --help, which is the same command.
    """


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(eval_app, name="eval")
