"""One latency with all that is needed to trust it, and files of such rows, one JSON line each."""

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from encoders.errors import InputError, InputWarning
from encoders.files import read_bounded
from eval_zeroshot.results import drop_torn_line

MAX_BYTES = 2**26  # of a file of rows
VERSION = 1

How = Literal["measured", "xcode report", "failed", "not run here"]
Part = Literal["encoder", "decoder", "everything"]
PARTS: tuple[Part, ...] = ("encoder", "decoder", "everything")
Number = Annotated[float, Field(allow_inf_nan=False, ge=0)]


class Placement(BaseModel):
    """What a processor of the device takes of a model.

    Attributes:
        operations: that prefer it.
        cost: share of the estimated work, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    operations: int = Field(ge=0)
    cost: Number


class LatencyRow(BaseModel):
    """How long one part of one model takes in one runtime.

    Attributes:
        model: name under which it was given; arch: of its image encoder; trained: None where it is not known.
        runtime: as in `--runtime`; runtime_name: with its version.
        threads: asked for, None where nobody chose; threads_effective: what the runtime said of itself afterwards.
        precision: what it really computed in.
        image_size: S in pixels; device: what it ran on, in words.
        how: "failed" and "not run here" have no times, and a `note` that says why.
        p50_ms, p90_ms, p99_ms: of `calls` warm calls of one image, wall clock. Of fewer than a hundred calls the last is close
            to the slowest of them.
        cpu_ms: median processor time of a call, over all threads of the process.
        round_ms, round_cpu_ms: median of each round, in its order.
        load_ms: opening the model in a fresh process, first_call_ms: its first call.
        start_mb, peak_mb: resident memory of that process before the model was opened, and at most, by the operating system.
        throughput: images a second by batch.
        ratio_to_baseline: p50 divided by that of the model `baseline` in the same runtime, part and threads; its 95 % bootstrap
            interval over rounds; cpu_ratio_to_baseline: the same of the processor time.
        other_cpu: processors that other programs kept busy meanwhile; loaded: whether that is too much to be trusted.
        load_average: of the last minute, when the row began.
        detail: prompts, points or masks that a call is about.
        placement: Neural Engine, GPU and CPU, of Core ML.
        complete: False where the run was interrupted before its last round.
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
    throughput: dict[int, Number] = Field(default_factory=dict)
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
    def key(self) -> tuple[str, str, str, int | None, int | None, str]:
        """What a later row of the same measurement replaces."""
        return self.model, self.runtime, self.part, self.threads, self.image_size, self.device

    def to_line(self) -> str:
        """The JSON line of this row, newline included."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False) + "\n"


def append_rows(path: Path, rows: Iterable[LatencyRow]) -> None:
    """Add finished rows to a file and make sure that they are on disk; what a killed writer began is cut off."""
    drop_torn_line(path)
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(row.to_line() for row in rows)
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(path: Path) -> list[LatencyRow]:
    """The rows of a file that `repvit-sam latency` wrote, here or on another machine, in its order.

    Raises:
        InputError: the file is missing, or a line is no row (it names the line and the field).
    """
    rows = []
    lines = read_bounded(path, max_bytes=MAX_BYTES, name=str(path)).splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                rows.append(parse(LatencyRow, line, where=f"{path}, line {number}: no row of repvit-sam latency"))
        except InputError:
            if line.endswith(b"\n"):
                raise
            warnings.warn(f"{path}: line {number} is unfinished and was left out", InputWarning, stacklevel=2)
    if not rows:
        raise InputError(f"{path} has no row; expected JSON lines that repvit-sam latency wrote")
    return rows


def parse(kind: type[Any], content: str | bytes, *, where: str) -> Any:
    """A pydantic object from JSON.

    Args:
        where: what an error begins with: the file, and what it was taken for.

    Raises:
        InputError: the content is none; it names the first field that is wrong.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(f"{where} ({field}: {first['msg']})") from error


def latest(rows: Iterable[LatencyRow]) -> list[LatencyRow]:
    """Of several rows of one measurement the last, in the place of the first."""
    found: dict[tuple[Any, ...], LatencyRow] = {}
    for row in rows:
        found[row.key] = row
    return list(found.values())
