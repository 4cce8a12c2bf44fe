"""Bad photos: named in `quarantine.jsonl`, counted, and bounded."""

import math
from collections.abc import Sequence
from pathlib import Path

from encoders.errors import InputError
from shards.files import append_line, atomic_writer, to_line
from shards.manifest import ShardEntry
from shards.stored import BadSample

QUARANTINE_FILE = "quarantine.jsonl"
NAMED = 5  # bad photos named in an error


class Quarantine:
    """The bad photos of a cache.

    Args:
        folder: the cache.
        total: photos of the source, good and bad.
        max_bad_fraction: share of them that may be bad; one photo is always allowed unless it is 0.
    """

    def __init__(self, folder: Path, *, total: int, max_bad_fraction: float) -> None:
        if not 0 <= max_bad_fraction <= 1:
            raise InputError(f"max_bad_fraction={max_bad_fraction} is no share; expected 0 to 1")
        self.path = folder / QUARANTINE_FILE
        self.total = total
        self.max_bad_fraction = max_bad_fraction
        self.allowed = math.ceil(total * max_bad_fraction)
        self.lines: list[dict[str, str]] = []

    @property
    def count(self) -> int:
        """Bad photos known so far."""
        return len(self.lines)

    def restart(self, entries: Sequence[ShardEntry], *, write: bool) -> None:
        """Know the bad photos of the finished shards, and no others; with `write`, the file says the same."""
        self.lines = [_line(entry.name, bad) for entry in entries for bad in entry.quarantined]
        content = b"".join(to_line(line) for line in self.lines)
        if write and (self.path.is_file() or content) and not self._holds(content):
            with atomic_writer(self.path) as file:
                file.write(content)

    def add(self, shard: str, bad: BadSample) -> None:
        """Name one more bad photo. Raises InputError, naming the first few, when they are too many."""
        line = _line(shard, vars(bad))
        self.lines.append(line)
        append_line(self.path, line)
        self.check()

    def check(self) -> None:
        """Raise InputError, naming the first few, when too many photos are bad."""
        if self.count > self.allowed:
            named = "; ".join(f"{line['key']}: {line['reason']}" for line in self.lines[:NAMED])
            raise InputError(
                f"{self.count} photos of {self.total} cannot be used, max_bad_fraction={self.max_bad_fraction} allows"
                f" {self.allowed}: {named}{'; ...' if self.count > NAMED else ''} (all of them are in {self.path});"
                " mend or remove them, or allow more. Finished shards are kept"
            )

    def _holds(self, content: bytes) -> bool:
        return self.path.is_file() and self.path.read_bytes() == content


def _line(shard: str, bad: dict[str, str]) -> dict[str, str]:
    return {"shard": shard, **bad}
