"""Doing something at a store again and again until it succeeds, or it is clear that it will not."""

import time
from collections.abc import Callable
from typing import TypeVar

from encoders.errors import InputError, MissingExtra
from shards.stores.base import StoreFailure
from shards.stores.messages import reason_of
from shards.stores.retry import Retry

FINAL = (PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError, TypeError)
NO_CREDENTIALS = ("Credential", "NoAuth", "Unauthorized", "Authentication")  # in names of clients' errors
Result = TypeVar("Result")


def persist(action: Callable[[], Result], *, subject: str, retry: Retry, missing_is_final: bool = False) -> Result:
    """Do something at a store, again and again if it fails.

    Args:
        subject: what the message of a failure begins with, e.g. "s3://bucket/name cannot be read".
        missing_is_final: a missing file ends the tries with a message: where something is written, the bucket is missing.

    Raises:
        StoreFailure: it cannot help to try again, or the last try failed.
        FileNotFoundError: there is no such file, unless `missing_is_final`.
    """
    failures = 0
    while True:
        try:
            return action()
        except (InputError, MissingExtra):
            raise
        except Exception as error:  # fsspec passes on the exceptions of each protocol's client
            if isinstance(error, FileNotFoundError) and not missing_is_final:
                raise
            failures += 1
            if todo := remedy(error):
                raise StoreFailure(f"{subject}: {reason_of(error)}; {todo}") from error
            if failures >= retry.tries:
                raise StoreFailure(
                    f"{subject}: {failures} tries in a row failed, the last with {reason_of(error)}; see that the store"
                    " answers, then run the same command again: what is finished is kept"
                ) from error
        time.sleep(retry.pause(failures))


def remedy(error: BaseException) -> str | None:
    """Return what to do if trying again cannot help; None if it may."""
    if isinstance(error, FileNotFoundError):
        return "see that the bucket exists and is spelled so"
    if any(part in type(error).__name__ for part in NO_CREDENTIALS):
        return "give credentials where the store's client looks for them (its environment variables or configuration file)"
    if isinstance(error, PermissionError):
        return "give these credentials the right to read, list, write and delete there"
    if isinstance(error, FINAL):
        return "see that the URL is spelled right and that its fsspec package is installed and recent"
    return None
