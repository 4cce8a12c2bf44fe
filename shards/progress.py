"""How far a precompute is, for a person and for `progress.jsonl`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from shards.files import append_line

PROGRESS_FILE = "progress.jsonl"


@dataclass(kw_only=True)
class PrecomputeProgress:
    """Where a precompute stands; counts include what earlier calls did.

    Attributes:
        photos, photos_total: good and bad photos dealt with, and all of the source.
        quarantined: bad ones so far.
        shards, shards_total: finished shards, and all.
        seconds, teacher_seconds: of this call, and of it in the teacher.
    """

    photos: int
    photos_total: int
    quarantined: int
    shards: int
    shards_total: int
    seconds: float = 0.0
    teacher_seconds: float = 0.0


class Tracker:
    """Counts, measures and reports.

    Args:
        folder: where `progress.jsonl` grows, a line a shard.
        state: where the call begins.
        callback: called with the state after every batch and every shard.
    """

    def __init__(
        self, folder: Path, *, state: PrecomputeProgress, callback: Callable[[PrecomputeProgress], None] | None
    ) -> None:
        self.state = state
        self._path = folder / PROGRESS_FILE
        self._callback = callback
        self._started = time.monotonic()

    @contextmanager
    def teaching(self) -> Iterator[None]:
        """Measure the teacher's share."""
        started = time.monotonic()
        yield
        self.state.teacher_seconds += time.monotonic() - started

    def dealt_with(self, *, photos: int, quarantined: int) -> None:
        """So many more photos; so many bad ones in all."""
        self.state.photos += photos
        self.state.quarantined = quarantined
        self._report()

    def shard_finished(self) -> None:
        """One more shard is on disk and in the manifest."""
        self.state.shards += 1
        self._report()
        append_line(self._path, {"time": time.time(), **asdict(self.state)})

    def measured(self) -> PrecomputeProgress:
        """The state, with the seconds up to now."""
        self.state.seconds = time.monotonic() - self._started
        return self.state

    def _report(self) -> None:
        self.measured()
        if self._callback is not None:
            self._callback(self.state)
