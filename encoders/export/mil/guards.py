"""Checks for packages that are damaged, or that try to reach files outside themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoders.errors import InputError

MAX_DETAIL = 200  # characters of the original error
DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


@contextmanager
def input_errors(subject: str) -> Iterator[None]:
    """Turn every error that a damaged package can cause into an InputError that names it.

    Args:
        subject: what is being processed, e.g. the path of a package.

    Raises:
        InputError: the block raised one (its message gets `subject` in front unless it is there already), failed to read a
            file, or failed in a way that only damaged or unsupported content explains.
    """
    try:
        yield
    except InputError as error:
        if subject in str(error):
            raise
        raise InputError(f"{subject}: {error}") from error
    except OSError as error:
        raise InputError(f"{subject} cannot be read ({error.strerror or error}); check its files and permissions") from error
    except DAMAGE as error:
        detail = (str(error).splitlines() or [""])[0][:MAX_DETAIL]
        raise InputError(
            f"{subject} is damaged or contains something unsupported ({type(error).__name__}: {detail}); export the model again"
        ) from error


def stays_inside(name: str) -> bool:
    """Return whether a path read from a package is relative and has no `..`, so that it stays inside its folder."""
    path = Path(name)
    return not path.anchor and ".." not in path.parts
