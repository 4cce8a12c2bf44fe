"""Progress of a precompute, as text and in `progress.jsonl`."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoders.messages.eta import duration, time_left
from encoders.messages.words import counted
from shards.cache.files import append_line, read_lines

PROGRESS_FILE = "progress.jsonl"


@dataclass(kw_only=True)
class PrecomputeProgress:
    """Progress of a precompute; counts are over all processes and include earlier calls.

    If a source has several views of each photo, every view counts as a photo.

    Attributes:
        photos, photos_total: photos processed so far, good and bad, and the source's total.
        quarantined: bad photos so far.
        views: number of views of each photo.
        shards, shards_total: finished shards and total.
        photos_made: photos processed in this call by this process, or by the workers that it leads.
        seconds, teacher_seconds: duration of this call, and the time that the teacher took, in all workers together.
        processes: number of workers.
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
    processes: int = 1


def progress_text(now: PrecomputeProgress, *, since: PrecomputeProgress) -> str:
    """Format the progress as one line of text.

    Args:
        since: the progress when this process began to observe; the work of all processes since then gives the rate for
            the estimate of the remaining time.
    """
    done, seconds = now.photos - since.photos, now.seconds - since.seconds
    return (
        f"{now.photos} of {samples_text(now.photos_total, views=now.views)}, {now.quarantined} quarantined,"
        f" {now.shards} of {counted(now.shards_total, 'shard')}, {duration(now.seconds)}"
        f"{time_left(done, now.photos_total - since.photos, seconds)}"
    )


def samples_text(samples: int, *, views: int) -> str:
    """Format a count: 72 and 3 -> "72 samples (24 photos x 3 views)"; "72 photos" with a single view of each photo."""
    if views == 1:
        return counted(samples, "photo")
    return f"{counted(samples, 'sample')} ({counted(samples // views, 'photo')} x {views} views)"


class Tracker:
    """Counts progress, measures rates and reports both. One process of a group writes `progress.jsonl`, one line per shard.

    Args:
        folder: folder of `progress.jsonl`.
        state: the progress at the start of the call.
        callback: called with the state after every batch and every shard.
    """

    def __init__(
        self, folder: Path, *, state: PrecomputeProgress, callback: Callable[[PrecomputeProgress], None] | None
    ) -> None:
        self.state = state
        self._path = folder / PROGRESS_FILE
        self._callback = callback
        self._started = time.monotonic()
        self._written = 0

    def set_totals(self, *, photos: int, shards: int, quarantined: int) -> None:
        """Set the totals finished by all processes together."""
        self.state.photos, self.state.shards, self.state.quarantined = photos, shards, quarantined

    def add_photos(self, *, photos: int, quarantined: int) -> None:
        """Add `photos` processed photos and set the total number of bad ones."""
        self.state.photos += photos
        self.state.photos_made += photos
        self.state.quarantined = quarantined
        self._report()

    def shard_finished(self, *, write: bool) -> None:
        """Record a finished shard; only one process of a group may `write` it to the file."""
        self._report()
        if write:
            self._write()

    def all_finished(self) -> None:
        """Record that all shards are finished and no other process is writing."""
        if self._written != self.state.shards:
            self._report()
            self._write()

    def measured(self) -> PrecomputeProgress:
        """Return the state with up-to-date durations."""
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
    """Return the rate of one process in photos per second, from the last such line of `progress.jsonl`; None without one."""
    path = folder / PROGRESS_FILE
    lines = read_lines(path)[0] if path.is_file() else []
    for line in reversed(lines):
        given = line if isinstance(line, dict) else {}
        made, seconds, processes = (_positive(given.get(name)) for name in ("photos_made", "seconds", "processes"))
        if made is not None and seconds is not None:
            return made / seconds / (processes or 1)
    return None


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
