"""Options shared by several commands, and their handling."""

from typing import Annotated

import typer

ConfigOption = Annotated[str, typer.Option("--config", "-c", help="A YAML file, or the name of a shipped config.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a config key, e.g. --set optim.lr=5e-4. Repeatable.")
]
ProcessesOption = Annotated[int, typer.Option(help="Processes on this machine that share the work; use one per GPU.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--num-processes",
        "--processes-count",
        help="Processes that share the work; use one per GPU (default: 1; with --engine ray, all GPUs of the cluster).",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        help="local: processes of this machine. slurm: a fixed share for each process of srun, torchrun or a job array. ray: "
        "workers of a Ray cluster. (Default: slurm where a launcher started several processes, else local.)"
    ),
]
RetryOption = Annotated[int, typer.Option(help="How often work is handed out again after its worker failed.")]
StallOption = Annotated[
    float,
    typer.Option(
        help="Minutes that a worker of --engine local may finish no batch (with eval and masks: no photo) before it is "
        "killed and another one does its work. At least ten times the longest batch so far. 0 waits for ever."
    ),
]
RayOption = Annotated[str | None, typer.Option(help="Address of a running Ray cluster (default: one on this machine).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def in_processes(command: str, *, config: str, overrides: list[str] | None, num_processes: int) -> None:
    """Run one of our commands in several processes that belong together; on failure exit with its exit code."""
    from distill.launching.launch import launch

    arguments = [command, "--config", config]
    for override in overrides or []:
        arguments += ["--set", override]
    if code := launch(arguments, num_processes=num_processes):
        raise typer.Exit(code)
