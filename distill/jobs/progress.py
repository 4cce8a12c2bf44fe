"""Lines of progress for a log."""

import sys
import time
from collections.abc import Callable


def every_few_seconds(seconds: float = 5.0) -> Callable[..., None]:
    """A function that prints a line to stderr, at most every few seconds, but always when told that it is the last."""
    printed = time.monotonic()

    def say(line: str, *, last: bool) -> None:
        nonlocal printed
        if last or time.monotonic() - printed >= seconds:
            printed = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    return say
