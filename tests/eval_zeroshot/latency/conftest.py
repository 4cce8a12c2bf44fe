"""Simulated subjects, clocks and machines: nothing here depends on the speed of this one."""

from collections.abc import Callable
from typing import Any

import pytest

from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.latency.subjects.subject import ModelFacts, Spec
from eval_zeroshot.latency.timing.process import Failed
from eval_zeroshot.latency.timing.worker import Memory, Start, Throughput, Timing


class PretendedSubject:
    """Takes `milliseconds` for a call, times `drift` of the number of the call."""

    def __init__(self, spec: Spec, *, world: "World") -> None:
        self.spec = spec
        self.world = world
        self.closed = False

    def start(self) -> Start:
        self.world.log.append(("start", self.spec.model))
        if self.spec.model in self.world.broken:
            raise Failed("out of memory")
        return Start(
            load_ms=70.0, first_call_ms=self.world.first_ms, start_mb=100.0, name="Pretended 1.0", precision="fp32",
            threads=self.spec.threads, detail={}, placement={}, device=self.world.device, note=self.world.note,
        )  # fmt: skip

    def call(self, times: int) -> Timing:
        self.world.log.append(("call", self.spec.model))
        self.world.calls += 1
        if self.world.calls == self.world.interrupt_at:
            raise KeyboardInterrupt
        if self.spec.model in self.world.dying:
            raise Failed("its process was ended by the system")
        wall = [self.world.milliseconds[self.spec.model] * self.world.drift(self.world.calls)] * times
        seconds = sum(wall) / 1000
        return Timing(
            wall_ms=wall, cpu_ms=[value / 2 for value in wall], busy_seconds=seconds / 2 + self.world.others * seconds,
            own_seconds=seconds / 2, seconds=seconds,
        )  # fmt: skip

    def throughput(self, batch: int, seconds: float) -> Throughput | None:
        if self.spec.runtime == "onnxruntime":
            return None
        usage = {"busy_seconds": seconds * (1 + self.world.others_in_throughput), "own_seconds": seconds, "seconds": seconds}
        return Throughput(images_per_second=10.0 * batch, **usage)

    def memory(self) -> Memory:
        return Memory(peak_mb=250.0, device_peak_mb=None if self.world.device is None else 900.0)

    def close(self) -> None:
        self.closed = True


class World:
    """State that simulated subjects share: how long each model takes, what goes wrong, and a log of what was done."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {"a": 400.0, "b": 800.0, "c": 100.0}
        self.first_ms = 500.0
        self.others = 0.0
        self.others_in_throughput = 0.0
        self.note: str | None = None
        self.device: str | None = None
        self.broken: set[str] = set()
        self.dying: set[str] = set()
        self.interrupt_at = 0
        self.calls = 0
        self.log: list[tuple[str, str]] = []
        self.subjects: list[PretendedSubject] = []
        self.drift: Callable[[int], float] = lambda call: 1.0

    def start(self, spec: Spec) -> PretendedSubject:
        self.subjects.append(PretendedSubject(spec, world=self))
        return self.subjects[-1]

    def order(self) -> str:
        """Models in the order in which they were called."""
        return "".join(model for what, model in self.log if what == "call")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def spec() -> Callable[..., Spec]:
    """A spec; keyword arguments replace fields."""

    def make(model: str, **changes: Any) -> Spec:
        fields: dict[str, Any] = {"runtime": "torch", "part": "encoder", "threads": 1, "image_size": 64, "path": "nowhere"}
        return Spec(model=model, facts=ModelFacts(name=model), **(fields | changes))

    return make


@pytest.fixture
def row() -> Callable[..., LatencyRow]:
    """A measured row; keyword arguments replace fields."""

    def make(**changes: Any) -> LatencyRow:
        fields: dict[str, Any] = {
            "model": "repvit", "runtime": "torch", "part": "encoder", "threads": 1, "image_size": 1024, "device": "a server",
            "p50_ms": 412.0, "p90_ms": 431.0, "p99_ms": 520.0, "cpu_ms": 409.0, "calls": 20,
        }  # fmt: skip
        if changes.get("p50_ms", 1.0) is not None:
            fields["threads_effective"] = changes.get("threads", 1)
        return LatencyRow(**(fields | changes))

    return make
