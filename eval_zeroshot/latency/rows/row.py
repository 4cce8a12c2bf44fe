"""The row of one latency: the times, and everything needed to judge them."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

How = Literal["measured", "xcode report", "failed", "not run here"]
Part = Literal["encoder", "decoder", "everything"]
PARTS: tuple[Part, ...] = ("encoder", "decoder", "everything")
Number = Annotated[float, Field(allow_inf_nan=False, ge=0)]
OUTCOMES = ("masks",)  # of `detail`: what a call found
ORIGINS = ("file", "compute units")  # of `detail`: what a report of Xcode is about; the rest is what a call is asked


class Placement(BaseModel):
    """What one processor of a device does of a model.

    Attributes:
        operations: how many operations prefer this processor.
        cost: their share of the estimated work, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    operations: int = Field(ge=0)
    cost: Number


class LatencyRow(BaseModel):
    """How long one part of one model takes in one runtime.

    Attributes:
        model: name in tables; arch: of its image encoder; trained: None where it is not known.
        runtime: as in `--runtime`; runtime_name: with its version.
        threads: number asked for, None if none was; threads_effective: number that the runtime reported afterwards, None if it
            reports none.
        precision: what the runtime really computed in.
        image_size: S in pixels; device: description of the processor or GPU.
        how: rows that are "failed" or "not run here" have no times; their `note` gives the reason.
        p50_ms, p90_ms, p99_ms: percentiles of `calls` warm calls with one image, wall clock. With fewer than a hundred calls
            p99 is close to the slowest of them.
        cpu_ms: median processor time of a call, over all threads of the process.
        round_ms, round_cpu_ms: median of each round, in order.
        load_ms: opening the model in a fresh process; first_call_ms: its first call.
        start_mb: resident memory of that process before the model was opened; peak_mb: its maximum, as the operating system
            reports it; device_peak_mb: maximum of the memory that PyTorch allocated on the GPU.
        throughput: images per second by batch size.
        throughput_other_cpu: processors that other programs kept busy meanwhile, by batch size; throughput_loaded: whether
            that was too much for one of the throughputs to be trusted.
        ratio_to_baseline: median of this model's round medians divided by the median of the baseline's, over the rounds that
            both have; the baseline is the model `baseline` in the same runtime, part and threads. It can differ slightly from
            the quotient of the two p50_ms.
        ratio_low, ratio_high: its 95 % bootstrap interval over rounds; cpu_ratio_to_baseline: the same ratio of processor
            times.
        other_cpu: processors that other programs kept busy during the timed calls; loaded: whether that was too much for the
            times to be trusted.
        load_average: of the last minute, when the subject was started.
        detail: what a call consists of: prompts, points, masks, height and width of the photo.
        placement: distribution over Neural Engine, GPU and CPU, of Core ML.
        complete: False where the run was interrupted before its last round.
        note: reason of a failure, or a remark on how the times came about.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    model: str = Field(min_length=1)
    arch: str | None = None
    trained: bool | None = None
    runtime: str = Field(min_length=1)
    runtime_name: str | None = None
    part: Part
    threads: int | None = Field(default=None, ge=1)
    threads_effective: int | None = Field(default=None, ge=0)
    precision: str | None = None
    image_size: int | None = Field(default=None, gt=0)
    device: str = ""
    how: How = "measured"
    p50_ms: Number | None = None
    p90_ms: Number | None = None
    p99_ms: Number | None = None
    cpu_ms: Number | None = None
    calls: int = Field(default=0, ge=0)
    round_ms: list[Number] = Field(default_factory=list)
    round_cpu_ms: list[Number] = Field(default_factory=list)
    load_ms: Number | None = None
    first_call_ms: Number | None = None
    start_mb: Number | None = None
    peak_mb: Number | None = None
    device_peak_mb: Number | None = None
    throughput: dict[int, Number] = Field(default_factory=dict)
    throughput_other_cpu: dict[int, Number] = Field(default_factory=dict)
    throughput_loaded: bool = False
    baseline: str | None = None
    ratio_to_baseline: Number | None = None
    ratio_low: Number | None = None
    ratio_high: Number | None = None
    cpu_ratio_to_baseline: Number | None = None
    loaded: bool = False
    other_cpu: Number | None = None
    load_average: Number | None = None
    detail: dict[str, int | str] = Field(default_factory=dict)
    placement: dict[str, Placement] = Field(default_factory=dict)
    complete: bool = True
    note: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    host: dict[str, str | int | float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_times(self) -> "LatencyRow":
        timed = self.how in ("measured", "xcode report")
        if timed != (self.p50_ms is not None):
            raise ValueError(f"a row that is {self.how!r} has {'a' if timed else 'no'} p50_ms")
        return self

    @property
    def asked(self) -> dict[str, int | str]:
        """`detail` without what a call found: the same in every row of one measurement."""
        return {name: value for name, value in self.detail.items() if name not in OUTCOMES}

    @property
    def call(self) -> str:
        """What a call is asked, e.g. "prompts 64"; empty where the row does not say."""
        return ", ".join(f"{name} {value}" for name, value in self.asked.items() if name not in ORIGINS)

    @property
    def subject(self) -> tuple[Any, ...]:
        """Model, runtime, part, threads and device: what a row without a time still knows, besides the image size."""
        return self.model, self.runtime, self.part, self.threads, self.device

    @property
    def key(self) -> tuple[Any, ...]:
        """Identity of the measurement: a later row with the same key replaces an earlier one, see `latest`."""
        asked = tuple(sorted(self.asked.items()))
        return *self.subject, self.image_size, self.precision, self.runtime_name, asked

    def to_line(self) -> str:
        """The JSON line of this row, newline included."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False) + "\n"
