"""Jobs made of our own commands, each in a process of its own, as a user would type them."""

import subprocess
import sys


def run_command(*arguments: str, quiet: bool = False) -> None:
    """Print one of our commands and run it in a separate process; exit with its code if it fails.

    Args:
        quiet: leave out its output; progress and messages, on stderr, stay.
    """
    say("repvit-sam " + " ".join(arguments))
    output = subprocess.DEVNULL if quiet else None
    code = subprocess.run([sys.executable, "-m", "distill", *arguments], stdout=output, check=False).returncode
    if code:
        sys.exit(code)


def say(text: str) -> None:
    """Print a progress line to stderr."""
    print(f"\n> {text}", file=sys.stderr, flush=True)
