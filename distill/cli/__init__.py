"""The command line: one file a command, and what commands share. Typer is used nowhere else."""
