"""The command line: `repvit-sam`, also `python -m distill`."""

import sys
import warnings
from typing import Annotated, Any

import typer

from distill import (
    commands_about,
    commands_cache,
    commands_classifier,
    commands_compare,
    commands_data,
    commands_edges,
    commands_eval,
    commands_export,
    commands_ingest,
    commands_instance,
    commands_latency,
    commands_lint,
    commands_masks,
    commands_train,
    eval_group,
    export_group,
)
from distill.starter import end_with_starter
from encoders.errors import InputError, InputWarning, MissingExtra, NonFiniteLoss
from encoders.files import os_error_message

app = typer.Typer(
    name="repvit-sam",
    help="Distil SAM's image encoder into RepViT encoders, and prove the result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(local_rank: Annotated[int, typer.Option("--local_rank", hidden=True)] = 0) -> None:
    """Distil SAM's image encoder into RepViT encoders, and prove the result."""
    # --local_rank: the deepspeed launcher puts it before the command; the environment says the same


for module in (
    commands_train,
    commands_ingest,
    commands_data,
    commands_cache,
    eval_group,
    commands_eval,
    commands_instance,
    commands_masks,
    commands_edges,
    commands_compare,
    export_group,
    commands_export,
    commands_classifier,
    commands_latency,
    commands_lint,
    commands_about,
):
    module.register(app)


def _show(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None
) -> None:
    """A warning of ours as a note, without the place in the code; others as Python shows them."""
    if issubclass(category, InputWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def main() -> None:
    """Run the command line: 0 on success, 2 on bad input, 1 on failure; errors go to stderr."""
    end_with_starter()
    warnings.showwarning = _show
    try:
        app()
    except (InputError, MissingExtra) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # what reads or writes a file says more where it knows more
        print(f"error: {os_error_message(error)}", file=sys.stderr)
        sys.exit(2)
    except NonFiniteLoss as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
