"""Exceptions that callers can act on; the command line maps them to exit codes."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """Return "; did you mean X?" with the closest known names, for the end of a message; empty if none is close."""
    near = difflib.get_close_matches(name, list(known), n=most)
    return f"; did you mean {' or '.join(near)}?" if near else ""


class InputError(ValueError):
    """The given file, name, value or combination cannot be used (exit code 2).

    The message says what was given, what was expected and what to do.
    """


class InputWarning(UserWarning):
    """Something in the input is probably not what was meant, but can be used; the command line prints it as a note."""


class MissingExtra(ImportError):
    """An optional dependency is not installed (exit code 2).

    Args:
        package: the import that failed, e.g. "coremltools".
        extra: the extra that brings it, e.g. "export".
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'repvit-sam[{extra}]'")
        self.package = package
        self.extra = extra


class NonFiniteLoss(RuntimeError):
    """A loss or gradient became NaN or infinite; no parameter has moved when it is raised (exit code 1).

    Args:
        keys: keys of the samples of the batch.
        losses: name -> value of each loss term.
    """

    def __init__(self, *, keys: list[str], losses: dict[str, float]) -> None:
        terms = ", ".join(f"{name}={value}" for name, value in losses.items())
        super().__init__(f"non-finite loss ({terms}) on samples {', '.join(keys)}; the parameters were not changed")
        self.keys = keys
        self.losses = losses
