"""Performance reports of Xcode: `NAME.mlperf`, a folder with `report.json`, or that file by itself.

Apple does not document the format. The fields read here were found in a report of Xcode for an iPad (jsonVersion 1,
deviceResultVersion 4) and agree with two public programs that read such reports: seconds of each compilation, load and
prediction, the allowed processors (`computeUnit`, MLComputeUnits), and for each operation its preferred processor and its share
of the estimated work. The report also contains the device's serial number, identifier and name, and paths on the Mac; none of
these is copied.
"""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from encoders.errors import InputError
from encoders.files import read_bounded
from eval_zeroshot.latency.figures import percentiles
from eval_zeroshot.latency.rows.files import parse
from eval_zeroshot.latency.rows.row import LatencyRow, Number, Part, Placement

REPORT = "report.json"
MAX_BYTES = 2**28
UNITS = {0: "CPU only", 1: "CPU and GPU", 2: "all", 3: "CPU and Neural Engine"}  # MLComputeUnits
PROCESSORS = {"neuralEngine": "Neural Engine", "gpu": "GPU", "cpu": "CPU"}


class _Loose(BaseModel):
    """Other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Samples(_Loose):
    samples: list[Number] = Field(default_factory=list)  # seconds


class _Device(_Loose):
    modelName: str = Field(min_length=1)
    osNameAndVersionWithoutBuildNumber: str = ""


class _Metadata(_Loose):
    fileName: str = Field(min_length=1)


class _Config(_Loose):
    predictionCount: int | None = None  # per experiment; an experiment begins with a load


class _Results(_Loose):
    predict: _Samples
    load: _Samples = _Samples()
    compile: _Samples = _Samples()
    perfRunConfig: _Config = _Config()
    modelStructure: dict[str, Any] = Field(default_factory=dict)


class _Report(_Loose):
    deviceInfo: _Device
    modelMetadata: _Metadata
    computeUnit: int
    deviceResults: _Results


def is_report(path: Path) -> bool:
    """Whether a path has the name of a report: a .mlperf folder, or a .json file."""
    return path.suffix == ".mlperf" or path.suffix == ".json"


def read_report(path: Path, *, model: str | None = None, part: Part | None = None) -> LatencyRow:
    """The row of a report.

    The first prediction after each load is cold and is left out, as in `repvit-sam latency`.

    Args:
        model: name in the table; by default the name of the model file, without a trailing "encoder" or "decoder".
        part: by default "decoder" if the name of the model file contains that word, else "encoder".

    Raises:
        InputError: the file does not exist, or is not a report.
    """
    file = path / REPORT if path.is_dir() else path
    content = read_bounded(file, max_bytes=MAX_BYTES, name=str(file))
    report: _Report = parse(_Report, content, where=f"{file}: not a performance report of Xcode")
    results = report.deviceResults
    if not results.predict.samples:
        raise InputError(f"{file}: not a performance report of Xcode (deviceResults.predict.samples: there is no prediction)")
    cold, warm = _split(results.predict.samples, every=results.perfRunConfig.predictionCount)
    p50, p90, p99 = percentiles(warm)
    system = report.deviceInfo.osNameAndVersionWithoutBuildNumber
    units = UNITS.get(report.computeUnit, f"MLComputeUnits {report.computeUnit}")
    name = report.modelMetadata.fileName
    return LatencyRow(
        model=model or _model_of(name),
        runtime="coreml",
        runtime_name=f"Core ML, {units}",
        part=part or ("decoder" if "decoder" in name.lower() else "encoder"),
        device=", ".join(text for text in (report.deviceInfo.modelName, system) if text),
        how="xcode report",
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        calls=len(warm),
        load_ms=results.load.samples[0] * 1000 if results.load.samples else None,
        first_call_ms=cold,
        placement=_placement(results.modelStructure),
        detail={"compute units": units, "file": name},
    )


def _split(seconds: list[float], *, every: int | None) -> tuple[float, list[float]]:
    """Milliseconds of the very first prediction, and of all predictions but the first after each load."""
    every = every if every and every > 1 else len(seconds)
    warm = [value * 1000 for index, value in enumerate(seconds) if index % every]
    return seconds[0] * 1000, warm or [value * 1000 for value in seconds]


def _model_of(name: str) -> str:
    """`repvit_m0_9_encoder` -> `repvit_m0_9`."""
    return re.sub(r"[-_ ]?(image)?[-_ ]?(encoder|decoder)$", "", name, flags=re.IGNORECASE) or name


def _placement(structure: dict[str, Any]) -> dict[str, Placement]:
    """Number of operations and share of the work by processor; empty if the report has no model structure."""
    counted: dict[str, list[float]] = {}
    for operation in _operations(structure):
        preferred = _at(operation, "deviceUsage", "preferred", "deviceType")
        kind = next(iter(preferred), None) if isinstance(preferred, dict) else None
        if kind is not None:
            weight = _at(operation, "cost", "weight")
            name = PROCESSORS.get(kind, str(kind))
            counted.setdefault(name, []).append(float(weight) if isinstance(weight, (int, float)) else 0.0)
    return {name: Placement(operations=len(costs), cost=sum(costs)) for name, costs in counted.items()}


def _operations(structure: dict[str, Any]) -> list[Any]:
    functions = _at(structure, "program", "_0", "functions")
    if not isinstance(functions, dict):
        return []
    found = [_at(function, "block", "operations") for function in functions.values()]
    return [operation for operations in found if isinstance(operations, list) for operation in operations]


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
