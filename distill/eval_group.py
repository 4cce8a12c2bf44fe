"""`repvit-sam eval`: models on data with options alone, and a sub-command for each suite that scores files made elsewhere.

Such a suite is a file `commands_NAME.py` whose `register` calls `eval_app.command("NAME")(function)`; `distill.cli` names it.
"""

from typing import Any

import typer
from typer.core import TyperGroup

MODELS = "models"  # the sub-command that is meant where options come first


class OptionsMean(TyperGroup):
    """A group where options without a sub-command are those of the sub-command `meant`."""

    meant: str

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
    """Zero-shot suites: of models, or of files made elsewhere.

    Models on data, options alone (the same as `eval models`): repvit-sam eval -m sam_demo -s box -s point --data sample:val

    Files made elsewhere: the sub-commands below.
    """


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(eval_app, name="eval")
