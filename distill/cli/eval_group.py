"""`repvit-sam eval`: models on data with options alone, and a sub-command for each suite that scores files of other programs.

Such a suite is a file of this folder whose `register` calls `eval_app.command("NAME")(function)`; `distill.cli.app` names it.
"""

from typing import Any

import typer
from typer.core import TyperGroup

MODELS = "models"  # the sub-command that is meant where options come first


class OptionsMean(TyperGroup):
    """A group that passes options without a sub-command to the default sub-command `meant`, also in its help."""

    meant: str

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._shows_meant = False

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the group's parameters, in help texts preceded by those of the default sub-command."""
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


class OptionsMeanModels(OptionsMean):
    """A group where `eval -m ...` is short for `eval models -m ...`."""

    meant = MODELS


eval_app = typer.Typer(cls=OptionsMeanModels, no_args_is_help=True)


@eval_app.callback()
def _eval() -> None:
    """Evaluate models on zero-shot suites, or score result files of other programs.

    To evaluate models, give the options directly; the other sub-commands score result files.

    Example: repvit-sam eval -m sam_demo -s box -s point --data sample:val

    This is short for `eval models`, whose help has more examples.
    """


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(eval_app, name="eval")
