"""Options shared by several commands, and their handling."""

from typing import Annotated

import typer

ConfigOption = Annotated[str, typer.Option("--config", "-c", help="A YAML file, or the name of a shipped config.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a config key, e.g. --set optim.lr=5e-4. Repeatable.")
]
ProcessesOption = Annotated[int, typer.Option(help="Processes on this machine that share the work; use one per GPU.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def in_processes(
    command: str, *, config: str, overrides: list[str] | None, num_processes: int, apart: bool = False
) -> None:
    """Run one of our commands in several processes; on failure exit with its exit code.

    Args:
        apart: whether the processes are independent, so that one of them may fail.
    """
    from distill.launching.launch import launch, launch_apart

    arguments = [command, "--config", config]
    for override in overrides or []:
        arguments += ["--set", override]
    if code := (launch_apart if apart else launch)(arguments, num_processes=num_processes):
        raise typer.Exit(code)


def given_options(context: typer.Context, *, but: str) -> list[str]:
    """Return the options given to a command as arguments, except `but`."""
    arguments: list[str] = []
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if option.name == but or value is None or value == option.default or value is False or value == ():
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            arguments += [option.opts[0]] if value is True else [option.opts[0], str(one)]
    return arguments
