"""How far a precompute is, for a person and for `progress.jsonl`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from encoders.messages.eta import duration, time_left
from encoders.messages.words import counted
from shards.cache.files import append_line, read_lines
from shards.pipeline.lease import Lease, Leases

PROGRESS_FILE = "progress.jsonl"


@dataclass(kw_only=True)
class PrecomputeProgress:
    """Where a precompute stands; counts are over all processes and include what earlier calls did.

    Where a source has several views of each photo, every view counts as a photo here, as it is one for the teacher.

    Attributes:
        photos, photos_total: good and bad photos dealt with, and all of the source.
        quarantined: bad ones so far.
        views: of each photo.
        shards, shards_total: finished shards, and all.
        photos_made: those of `photos` that this process dealt with in this call.
        seconds, teacher_seconds: of this call in this process, and of it in the teacher.
    """

    photos: int
    photos_total: int
    quarantined: int
    shards: int
    shards_total: int
    views: int = 1
    photos_made: int = 0
    seconds: float = 0.0
    teacher_seconds: float = 0.0


def progress_text(now: PrecomputeProgress, *, since: PrecomputeProgress) -> str:
    """One line for a person.

    Args:
        since: how it stood when this process began to look; what all processes together did since then says how long the
            rest will take.
    """
    done, seconds = now.photos - since.photos, now.seconds - since.seconds
    return (
        f"{now.photos} of {samples_text(now.photos_total, views=now.views)}, {now.quarantined} quarantined,"
        f" {now.shards} of {counted(now.shards_total, 'shard')}, {duration(now.seconds)}"
        f"{time_left(done, now.photos_total - since.photos, seconds)}"
    )


def samples_text(samples: int, *, views: int) -> str:
    """72 and 3 -> "72 samples (24 photos x 3 views)"; "72 photos" where there is one view of each."""
    if views == 1:
        return counted(samples, "photo")
    return f"{counted(samples, 'sample')} ({counted(samples // views, 'photo')} x {views} views)"


class Tracker:
    """Counts, measures and reports.

    Of the processes that share the work, one at a time writes `progress.jsonl`, a line a shard: the one that holds the
    lease "progress".

    Args:
        folder: where `progress.jsonl` grows.
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
        self._lease: Lease | None = None
        self._written = 0

    @contextmanager
    def teaching(self) -> Iterator[None]:
        """Measure the teacher's share."""
        started = time.monotonic()
        yield
        self.state.teacher_seconds += time.monotonic() - started

    def stands(self, *, photos: int, shards: int, quarantined: int) -> None:
        """What all processes together have finished."""
        self.state.photos, self.state.shards, self.state.quarantined = photos, shards, quarantined

    def dealt_with(self, *, photos: int, quarantined: int) -> None:
        """So many more photos; so many bad ones in all."""
        self.state.photos += photos
        self.state.photos_made += photos
        self.state.quarantined = quarantined
        self._report()
        if self._lease is not None:
            self._lease.beat()

    def shard_finished(self, leases: Leases) -> None:
        """One more shard is on disk."""
        self._report()
        if self._lease is None or self._lease.lapsed:
            self._lease = leases.take("progress")
        if self._lease is not None:
            self._write()

    def all_finished(self) -> None:
        """Every shard is there, and no other process writes."""
        if self._written != self.state.shards:
            self._report()
            self._write()

    def release(self) -> None:
        """Let others write."""
        if self._lease is not None:
            self._lease.release()
        self._lease = None

    def measured(self) -> PrecomputeProgress:
        """The state, with the seconds up to now."""
        self.state.seconds = time.monotonic() - self._started
        return self.state

    def _report(self) -> None:
        self.measured()
        if self._callback is not None:
            self._callback(self.state)

    def _write(self) -> None:
        append_line(self._path, {"time": time.time(), **asdict(self.state)})
        self._written = self.state.shards


def earlier_rate(folder: Path) -> float | None:
    """Photos a second of one process, by the last line of a cache's `progress.jsonl` that says; None without one."""
    path = folder / PROGRESS_FILE
    lines = read_lines(path)[0] if path.is_file() else []
    for line in reversed(lines):
        given = line if isinstance(line, dict) else {}
        made, seconds = given.get("photos_made"), given.get("seconds")
        if isinstance(made, (int, float)) and isinstance(seconds, (int, float)) and made > 0 and seconds > 0:
            return made / seconds
    return None
