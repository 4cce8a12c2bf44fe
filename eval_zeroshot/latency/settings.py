"""Settings of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders.contract import check_image_size
from encoders.errors import InputError
from eval_zeroshot.latency.rows.row import Part
from eval_zeroshot.latency.subjects.subject import TORCH_RUNTIMES
from eval_zeroshot.latency.timing.blocks import Pace


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """How to time.

    Attributes:
        runtimes, parts, threads: each meaningful combination becomes a row.
        pace: rounds and their limits.
        image_size: None takes each model's own, 1024 for random weights.
        batches: batch sizes of which throughput is measured; seconds: duration for each of them.
        baseline: name of the model that the others are compared with.
        at_once: maximum number of subjects kept loaded, except that a runtime is never split; None lets memory decide.
        device: of torch, "cpu" or "cuda".
        prompts, grid, photo: of decoder calls and of everything mode, see `Spec`.
        allow_loaded: measure although other programs are busy.
        arch: architecture of foreign checkpoints.

    Raises:
        InputError: a value is out of range.
    """

    runtimes: Sequence[str] = ("torch", "torch_fused")
    parts: Sequence[Part] = ("encoder",)
    threads: Sequence[int] = (1,)
    pace: Pace = Pace()
    image_size: int | None = None
    batches: Sequence[int] = ()
    seconds: float = 2.0
    baseline: str | None = None
    at_once: int | None = None
    device: str = "cpu"
    prompts: int = 1
    grid: int = 8
    photo: Path | None = None
    allow_loaded: bool = False
    arch: str | None = None

    def __post_init__(self) -> None:
        for name, values in (("threads", self.threads), ("batch", self.batches)):
            if any(value < 1 for value in values):
                raise InputError(f"--{name} {min(values)}: expected 1 or more")
        if not self.threads or not self.parts or not self.runtimes:
            raise InputError("nothing to time; give at least one runtime, one part and one number of threads")
        for name in ("prompts", "grid", "at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
        if self.image_size is not None:
            check_image_size(self.image_size)
        if not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise InputError(f"--batch-seconds {self.seconds}: expected more than 0")
        if self.device not in ("cpu", "cuda"):
            raise InputError(f"--device {self.device!r}: expected cpu or cuda")
        others = [name for name in self.runtimes if name not in TORCH_RUNTIMES]
        if self.device == "cuda" and others:
            raise InputError(f"--device cuda is for PyTorch's runtimes; leave out --runtime {others[0]}, or --device cuda")
