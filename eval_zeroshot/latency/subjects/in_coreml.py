"""Core ML on a Mac, by coremltools' own benchmark and compute plan.

Nobody here has a Mac: written from coremltools 9 (`models/ml_program/experimental/perf_utils.py`, `models/compute_plan.py`) and
tested with a simulated package. The benchmark's random inputs are not used: for an image input they raise "Unsupported feature
type", because it compares the kind with the type itself.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from encoders.errors import InputError, MissingExtra
from eval_zeroshot.latency.rows.row import Placement
from eval_zeroshot.latency.subjects.coreml_inputs import inputs_of
from eval_zeroshot.latency.subjects.opening import NotRunHere, Opened
from eval_zeroshot.latency.subjects.subject import Spec

PROCESSORS = {"NeuralEngine": "Neural Engine", "GPU": "GPU", "CPU": "CPU"}


def open_coreml(spec: Spec) -> Opened:
    """Open the encoder or decoder of a folder with mlpackages. Core ML itself times the calls.

    Raises:
        NotRunHere: this is not a Mac.
        InputError: there is no such package, it does not take that many prompts, or everything mode is asked for.
        MissingExtra: coremltools is not installed.
    """
    if sys.platform != "darwin":
        raise NotRunHere("Core ML runs on macOS only")
    if spec.part == "everything":
        raise InputError("everything mode is not timed in Core ML; time encoder and decoder")
    from encoders.export.formats.coreml_runtime import computed_in

    coremltools = _coremltools()
    package = find_package(Path(spec.path), part=spec.part)
    model = coremltools.models.MLModel(str(package), compute_units=coremltools.ComputeUnit.ALL)
    return open_model(
        model,
        spec=spec,
        coremltools=coremltools,
        name=f"Core ML, all, coremltools {coremltools.__version__}",
        precision=computed_in(spec.precision),
    )


def open_model(model: Any, *, spec: Spec, coremltools: Any, name: str, precision: str) -> Opened:
    """A loaded `MLModel`, ready to be timed.

    Args:
        spec: its part, prompts and image size count.
        coremltools: the package; its benchmark is at `models.ml_program.experimental.perf_utils`.

    Raises:
        InputError: the decoder does not take that many prompts, or an input is of an unknown kind.
    """
    benchmarker = coremltools.models.ml_program.experimental.perf_utils.MLModelBenchmarker(model)
    prompts = spec.prompts if spec.part == "decoder" else None
    inputs = inputs_of(model.get_spec().description, prompts=prompts, image_size=spec.image_size)
    asyncio.run(benchmarker.benchmark_load(iterations=1))

    def call() -> float:
        measured = asyncio.run(benchmarker.benchmark_predict(inputs=inputs, iterations=1, warmup=False))
        return float(measured.samples[0])

    return Opened(
        call=call,
        name=name,
        precision=precision,
        threads=None,
        detail=lambda: dict(spec.asked),
        placement=lambda: placement(model, coremltools=coremltools),
        keep=[model, benchmarker],
    )


def find_package(folder: Path, *, part: str) -> Path:
    """The mlpackage that has the part in its name.

    Raises:
        InputError: there is none, or there are several.
    """
    found = sorted(path for path in folder.glob("*.mlpackage") if part in path.name.lower())
    if len(found) != 1:
        raise InputError(f"{folder} has {len(found)} mlpackages with {part!r} in their names; expected one")
    return found[0]


def placement(model: Any, *, coremltools: Any) -> dict[str, Placement]:
    """Number of operations and share of the estimated work, by the processor that Core ML prefers for them."""
    plan = coremltools.models.compute_plan.MLComputePlan.load_from_path(
        path=model.get_compiled_model_path(), compute_units=model.compute_unit
    )
    counted: dict[str, list[float]] = {}
    for operation in plan.model_structure.program.functions["main"].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is None:  # a constant
            continue
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        device = type(usage.preferred_compute_device).__name__.removeprefix("ML").removesuffix("ComputeDevice")
        counted.setdefault(PROCESSORS.get(device, device), []).append(cost.weight if cost is not None else 0.0)
    return {name: Placement(operations=len(costs), cost=sum(costs)) for name, costs in counted.items()}


def _coremltools() -> Any:
    try:
        import coremltools
        import coremltools.models.compute_plan
        import coremltools.models.ml_program.experimental.perf_utils
    except ImportError as error:
        raise MissingExtra("coremltools", extra="coreml") from error
    return coremltools
