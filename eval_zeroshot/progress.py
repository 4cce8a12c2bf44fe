"""Progress of an evaluation: a function that is called with the number of photos done."""

import sys
import time
from collections.abc import Callable

Progress = Callable[[int, int | None], None]  # (photos done, photos in all if known), after each photo
SECONDS = 5.0  # between two lines


def printed_progress() -> Progress:
    """Prints `photo DONE/ALL` to stderr, every few seconds and after the last photo."""
    printed = time.monotonic()

    def show(done: int, total: int | None) -> None:
        nonlocal printed
        if done == total or time.monotonic() - printed >= SECONDS:
            printed = time.monotonic()
            print(f"photo {done}" if total is None else f"photo {done}/{total}", file=sys.stderr, flush=True)

    return show


def chosen_progress(progress: Progress | bool | None) -> Progress | None:
    """True is `printed_progress`; False and None are none."""
    if isinstance(progress, bool):
        return printed_progress() if progress else None
    return progress
