"""The command line: one file per command, and shared helpers. Typer is used nowhere else."""
