"""Commands about a cache that is there: `repvit-sam cache ...`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from distill import commands_verify
from distill.commands_data import cache_facts
from distill.options import JsonOption

cache_app = typer.Typer(no_args_is_help=True, help="Look at a cache of teacher embeddings.")


@cache_app.command()
def stats(
    cache: Annotated[Path, typer.Argument(help="Folder that precompute wrote.")],
    json_: JsonOption = False,
) -> None:
    """What a cache holds and what it weighs.

    Example: repvit-sam cache stats runs/quickstart/cache
    """
    facts = cache_facts(cache)
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    commands_verify.register(cache_app)
    app.add_typer(cache_app, name="cache")
