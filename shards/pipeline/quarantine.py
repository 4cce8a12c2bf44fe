"""Unusable photos: listed in `quarantine.jsonl` and limited in number over all processes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from encoders.errors import InputError
from shards.cache.files import to_line, write_if_other
from shards.cache.stored_photo import BadSample

QUARANTINE_FILE = "quarantine.jsonl"
NAMED = 5  # bad photos named in an error


class Quarantine:
    """The bad photos of a cache: those of all finished shards and of the shard that this process is making.

    Args:
        folder: the cache.
        total: photos of the source, good and bad.
        max_bad_fraction: share of them that may be bad; one photo is always allowed unless it is 0.
        noun: word for them in errors: "samples" if there are several views of a photo.
    """

    def __init__(self, folder: Path, *, total: int, max_bad_fraction: float, noun: str = "photos") -> None:
        check_fraction(max_bad_fraction)
        self.path = folder / QUARANTINE_FILE
        self.total = total
        self.noun = noun
        self.max_bad_fraction = max_bad_fraction
        self.allowed = math.ceil(total * max_bad_fraction)
        self._finished: dict[str, Sequence[Mapping[str, str]]] = {}
        self._here: tuple[str, list[Mapping[str, str]]] = ("", [])
        self._count = 0

    @property
    def count(self) -> int:
        """Number of bad photos known so far."""
        shard, bad = self._here
        return self._count + (len(bad) if shard not in self._finished else 0)

    def finished(self, shard: str, bad: Sequence[Mapping[str, str]]) -> None:
        """Record a finished shard and its bad photos."""
        self._count += len(bad) - len(self._finished.get(shard, ()))
        self._finished[shard] = bad

    def begin(self, shard: str) -> None:
        """Start counting the bad photos of a new shard of this process."""
        self._here = (shard, [])

    def add(self, bad: BadSample) -> None:
        """Add a bad photo of this process's shard. Raises InputError if there are too many, see `check`."""
        self._here[1].append(vars(bad))
        self.check()

    def check(self) -> None:
        """Raise InputError if too many photos are bad; the error names the first few and the file lists all."""
        if self.count > self.allowed:
            lines = self.write()
            named = "; ".join(f"{line['key']}: {line['reason']}" for line in lines[:NAMED])
            raise InputError(
                f"{self.count} {self.noun} of {self.total} cannot be used, max_bad_fraction={self.max_bad_fraction} allows"
                f" {self.allowed}: {named}{'; ...' if self.count > NAMED else ''} (all of them are in {self.path});"
                " mend or remove them, or allow more. Finished shards are kept"
            )

    def write(self) -> list[dict[str, str]]:
        """Write the bad photos known so far to the file, in order of shard; return the lines."""
        known = dict([self._here]) | self._finished
        lines = quarantine_lines((shard, known[shard]) for shard in sorted(known))
        write_quarantine(self.path, lines)
        return lines


def check_fraction(max_bad_fraction: float) -> None:
    """Raise InputError if the share of photos that may be bad is not a fraction."""
    if not 0 <= max_bad_fraction <= 1:
        raise InputError(f"max_bad_fraction={max_bad_fraction} is not a fraction; expected 0 to 1")


def quarantine_lines(shards: Iterable[tuple[str, Sequence[Mapping[str, str]]]]) -> list[dict[str, str]]:
    """Return the lines of the file for pairs of a shard and its bad photos."""
    return [{"shard": shard, **bad} for shard, photos in shards for bad in photos]


def write_quarantine(path: Path, lines: Sequence[Mapping[str, str]]) -> None:
    """Write the file; it is not created if there are no bad photos."""
    content = b"".join(to_line(line) for line in lines)
    if content or path.is_file():
        write_if_other(path, content)
