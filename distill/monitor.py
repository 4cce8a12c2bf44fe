"""What a run says while it goes: metrics.jsonl, progress.jsonl, TensorBoard, a bar or plain lines. Rank 0 only."""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from encoders.files import atomic_path

METRICS, PROGRESS = "metrics.jsonl", "progress.jsonl"


class Monitor:
    """Writes one line of metrics every `every_steps` and at the last step.

    Args:
        folder: the run folder.
        start_step: step the run goes on from; later lines of an earlier, killed process are dropped.
        steps: global steps in all.
        samples_per_step: the global batch.
        enabled: False on all ranks but 0: every call does nothing.
    """

    def __init__(
        self, folder: Path, *, start_step: int, steps: int, samples_per_step: int, every_steps: int, enabled: bool
    ) -> None:
        self.steps, self.every_steps, self.samples_per_step = steps, every_steps, samples_per_step
        self.enabled = enabled
        self._mark = (start_step, time.perf_counter())
        if not enabled:
            return
        from torch.utils.tensorboard import SummaryWriter

        truncate_after(folder / METRICS, step=start_step)
        self._metrics = (folder / METRICS).open("a")
        self._progress = folder / PROGRESS
        self._board = SummaryWriter(str(folder), purge_step=start_step + 1)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
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
            self._metrics.close()
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
        line = {"step": step, "loss": total, **losses, "lr": lr, "grad_norm": grad_norm, "samples_per_second": rate}
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()
        for name, value in line.items():
            if name != "step":
                self._board.add_scalar(f"train/{name}", value, step)
        seconds = (self.steps - step) * self.samples_per_step / max(rate, 1e-9)
        with self._progress.open("a") as file:
            file.write(json.dumps({"done": step, "total": self.steps, "seconds_left": round(seconds, 1)}) + "\n")
        if self._bar.disable:
            terms = " ".join(f"{name} {value:.4f}" for name, value in losses.items())
            print(f"step {step}/{self.steps} loss {total:.4f} {terms} {rate:.1f} samples/s", file=sys.stderr, flush=True)


def truncate_after(path: Path, *, step: int) -> None:
    """Drop lines of a metrics file that lie after `step`, and a torn last line."""
    if not path.exists():
        return
    kept: list[dict[str, Any]] = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["step"] <= step:
            kept.append(record)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
