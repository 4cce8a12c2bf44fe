"""Training output on rank 0: metrics.jsonl, progress.jsonl, TensorBoard, and a progress bar or plain lines."""

import sys
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from distill.event_file import EventFile
from encoders.errors import InputError
from encoders.files import atomic_path, read_bounded, write_errors
from encoders.messages.eta import duration
from encoders.untrusted import parse_json, whole_lines
from shards.cache.files import append_line

METRICS, PROGRESS = "metrics.jsonl", "progress.jsonl"
MAX_METRICS_BYTES = 2**30


class Monitor:
    """Writes one line of metrics every `every_steps` and at the last step.

    Args:
        folder: the run folder.
        start_step: step from which the run resumes; later lines of an earlier, killed process are dropped.
        steps: total number of global steps.
        samples_per_step: the global batch.
        enabled: False on all ranks but 0, where every call does nothing.

    Raises:
        InputError: here or later, if a file cannot be written or the existing metrics are damaged.
    """

    def __init__(
        self, folder: Path, *, start_step: int, steps: int, samples_per_step: int, every_steps: int, enabled: bool
    ) -> None:
        self.steps, self.every_steps, self.samples_per_step = steps, every_steps, samples_per_step
        self.enabled = enabled
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

    def log(self, step: int, *, losses: dict[str, float], total: float, lr: float, grad_norm: float) -> None:
        """Report update number `step` (from 1)."""
        if not self.enabled:
            return
        self._bar.update(self._task, completed=step, description=f"loss {total:.4f}")
        if step % self.every_steps and step != self.steps:
            return
        then, clock = self._mark
        now = time.perf_counter()
        rate = (step - then) * self.samples_per_step / max(now - clock, 1e-9)
        self._mark = (step, now)
        values = {"loss": total, **losses, "lr": lr, "grad_norm": grad_norm, "samples_per_second": rate}
        with write_errors(self._metrics):
            append_line(self._metrics, {"step": step, **values})
        self._board.scalars(values, step=step)
        seconds = (self.steps - step) * self.samples_per_step / max(rate, 1e-9)
        with write_errors(self._progress):
            append_line(self._progress, {"done": step, "total": self.steps, "seconds_left": round(seconds, 1)})
        if self._bar.disable:
            terms = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
            left = f"{duration(seconds)} left" if step < self.steps else "done"
            line = f"step {step}/{self.steps}: loss {total:.4f} ({terms}), lr {lr:.2e}, {rate:.1f} photos/s, {left}"
            print(line, file=sys.stderr, flush=True)


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
