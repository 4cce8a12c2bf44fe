"""Training output on rank 0: metrics.jsonl, progress.jsonl, TensorBoard, and a progress bar or plain lines."""

import io
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from distill.monitoring.event_file import EventFile
from distill.monitoring.loggers import Logger
from distill.step_stats import StepStats
from encoders.errors import InputError
from encoders.files import atomic_path, read_bounded, write_errors
from encoders.messages.eta import duration
from encoders.untrusted import parse_json, whole_lines
from shards.cache.files import append_line

METRICS, PROGRESS, PICTURE = "metrics.jsonl", "progress.jsonl", "probe.png"
MAX_METRICS_BYTES = 2**30


class Monitor:
    """Writes one line of metrics every `every_steps` and at the last step.

    Args:
        folder: the run folder.
        start_step: step from which the run resumes; later lines of an earlier, killed process are dropped.
        steps: total number of global steps.
        samples_per_step: the global batch.
        enabled: False on all ranks but 0, where every call does nothing.
        loggers: where the metrics also go; closed at the end.

    Raises:
        InputError: here or later, if a file cannot be written or the existing metrics are damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start_step: int,
        steps: int,
        samples_per_step: int,
        every_steps: int,
        enabled: bool,
        loggers: Sequence[Logger] = (),
    ) -> None:
        self.steps, self.every_steps, self.samples_per_step = steps, every_steps, samples_per_step
        self.enabled, self._folder, self._loggers = enabled, folder, loggers
        self._mark = (start_step, time.perf_counter())
        if not enabled:
            return
        self._metrics, self._progress = folder / METRICS, folder / PROGRESS
        truncate_after(self._metrics, step=start_step)
        self._board = EventFile(folder, start_step=start_step)
        said, unit, left = TextColumn("{task.description}"), TextColumn("steps"), TextColumn("left")
        columns = (said, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn(), left)
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("distil", total=steps, completed=start_step)

    def __enter__(self) -> "Monitor":
        if self.enabled:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.enabled:
            self._bar.stop()
            self._board.close()
            for logger in self._loggers:
                logger.close()

    def log(self, step: int, stats: StepStats, *, lr: float) -> None:
        """Report update number `step` (from 1)."""
        if not self.enabled:
            return
        self._bar.update(self._task, completed=step, description=f"loss {stats.total:.4f}")
        if step % self.every_steps and step != self.steps:
            return
        then, clock = self._mark
        now = time.perf_counter()
        rate = (step - then) * self.samples_per_step / max(now - clock, 1e-9)
        self._mark = (step, now)
        named = {"loss": stats.total, **stats.losses, **stats.measured}
        self.add(step, named | {"lr": lr, "grad_norm": stats.grad_norm, "samples_per_second": rate})
        seconds = (self.steps - step) * self.samples_per_step / max(rate, 1e-9)
        with write_errors(self._progress):
            append_line(self._progress, {"done": step, "total": self.steps, "seconds_left": round(seconds, 1)})
        if self._bar.disable:
            terms = ", ".join(f"{name} {value:.4f}" for name, value in stats.losses.items())
            left = f"{duration(seconds)} left" if step < self.steps else "done"
            line = f"step {step}/{self.steps}: loss {stats.total:.4f} ({terms}), lr {lr:.2e}, {rate:.1f} photos/s, {left}"
            print(line, file=sys.stderr, flush=True)

    def add(self, step: int, values: Mapping[str, float | str]) -> None:
        """Write a line of metrics of a step, and its numbers to TensorBoard."""
        if not self.enabled:
            return
        with write_errors(self._metrics):
            append_line(self._metrics, {"step": step, **values})
        self._board.scalars({name: value for name, value in values.items() if not isinstance(value, str)}, step=step)
        for logger in self._loggers:
            logger.values(values, step=step)

    def picture(self, step: int, picture: Image.Image) -> None:
        """Show a picture of the masks at a step; the newest one also lies in the run folder."""
        if not self.enabled:
            return
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        with atomic_path(self._folder / PICTURE) as temporary:
            temporary.write_bytes(buffer.getvalue())
        self._board.picture("probe/masks", buffer.getvalue(), width=picture.width, height=picture.height, step=step)
        for logger in self._loggers:
            logger.picture(picture, step=step)

    def say(self, text: str) -> None:
        """Print a line to stderr, above the progress bar."""
        if self.enabled and self._bar.disable:
            print(text, file=sys.stderr, flush=True)
        elif self.enabled:
            self._bar.console.print(text, markup=False, highlight=False)

    def end_at(self, step: int) -> None:
        """Let a step before the planned one be the last."""
        self.steps = step


def truncate_after(path: Path, *, step: int) -> None:
    """Drop the lines of a metrics file after `step`, and an incomplete last line.

    Raises:
        InputError: another line is damaged; nothing was dropped.
    """
    if not path.exists():
        return
    content = read_bounded(path, max_bytes=MAX_METRICS_BYTES, name=str(path))
    lines, torn = whole_lines(content)
    kept: list[bytes] = []
    for number, line in enumerate(lines, start=1):
        if _step_of(line, name=f"{path}, line {number},") <= step:
            kept.append(line + b"\n")
    if torn or len(kept) < len(lines):
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"".join(kept))


def _step_of(line: bytes, *, name: str) -> int:
    try:
        record = parse_json(line, name=name, finite=False)
    except InputError as error:
        raise InputError(f"{error}; correct or delete the line, or move the file away") from error
    step = record.get("step") if isinstance(record, dict) else None
    if not isinstance(step, int):
        raise InputError(f"{name} has no number of a step; correct or delete the line, or move the file away")
    return step
