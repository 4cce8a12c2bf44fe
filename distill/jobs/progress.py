"""Progress lines for logs."""

import sys
import time
from collections.abc import Callable


def every_few_seconds(seconds: float = 5.0) -> Callable[..., None]:
    """Return a function that prints a line to stderr, at most every few seconds, but always if called with `last=True`."""
    printed = time.monotonic()

    def say(line: str, *, last: bool) -> None:
        nonlocal printed
        if last or time.monotonic() - printed >= seconds:
            printed = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    return say
