"""Core ML on a Mac, by coremltools' own benchmark and compute plan.

Nobody here has a Mac: written from coremltools 9 (`models/ml_program/experimental/perf_utils.py`, `models/compute_plan.py`) and
tested with a pretended one. Its random inputs are not used: they raise for an image input ("Unsupported feature type"), since
the kind is compared with the type itself.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError, MissingExtra
from encoders.export.encoder_module import PAD_COLOUR
from eval_zeroshot.latency.opening import NotRunHere, Opened
from eval_zeroshot.latency.rows import Placement
from eval_zeroshot.latency.subjects import Spec

PROCESSORS = {"NeuralEngine": "Neural Engine", "GPU": "GPU", "CPU": "CPU"}
INT32 = 131104  # `ArrayFeatureType.ArrayDataType` of Core ML's Model.proto
FREE_SIDE = 1  # of an axis whose length is not fixed


def open_coreml(spec: Spec) -> Opened:
    """Encoder or decoder of a folder with mlpackages; calls are timed by Core ML itself.

    Raises:
        NotRunHere: this is no Mac.
        InputError: there is no such package, or everything mode is asked for.
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
        coremltools=coremltools,
        name=f"Core ML, all, coremltools {coremltools.__version__}",
        precision=computed_in(spec.precision),
    )


def open_model(model: Any, *, coremltools: Any, name: str, precision: str) -> Opened:
    """A loaded `MLModel`, ready to be timed.

    Args:
        coremltools: the package; its benchmark is found under `models.ml_program.experimental.perf_utils`.
    """
    benchmarker = coremltools.models.ml_program.experimental.perf_utils.MLModelBenchmarker(model)
    inputs = inputs_of(model.get_spec().description)
    asyncio.run(benchmarker.benchmark_load(iterations=1))

    def call() -> float:
        measured = asyncio.run(benchmarker.benchmark_predict(inputs=inputs, iterations=1, warmup=False))
        return float(measured.samples[0])

    return Opened(
        call=call,
        name=name,
        precision=precision,
        threads=None,
        placement=lambda: placement(model, coremltools=coremltools),
        keep=[model, benchmarker],
    )


def find_package(folder: Path, *, part: str) -> Path:
    """The mlpackage of a part: the one whose name has the part in it.

    Raises:
        InputError: there is none, or there are several.
    """
    found = sorted(path for path in folder.glob("*.mlpackage") if part in path.name.lower())
    if len(found) != 1:
        raise InputError(f"{folder} has {len(found)} mlpackages with {part!r} in their names; expected one")
    return found[0]


def inputs_of(description: Any) -> dict[str, Any]:
    """Inputs for a model's description: noise, ones where whole numbers are wanted, a picture of the padding colour.

    Axes of any length have one entry.
    """
    from PIL import Image

    found: dict[str, Any] = {}
    for feature in description.input:
        kind = feature.type.WhichOneof("Type")
        if kind == "imageType":
            size = (feature.type.imageType.width, feature.type.imageType.height)
            found[feature.name] = Image.new("RGB", size, PAD_COLOUR)
        elif kind == "multiArrayType":
            shape = [side if side > 0 else FREE_SIDE for side in feature.type.multiArrayType.shape]
            whole = feature.type.multiArrayType.dataType == INT32
            found[feature.name] = np.ones(shape, np.int32) if whole else np.random.default_rng(0).random(shape, np.float32)
        else:
            raise InputError(f"input {feature.name!r} of the Core ML model is a {kind}; expected an image or an array")
    return found


def placement(model: Any, *, coremltools: Any) -> dict[str, Placement]:
    """Operations and share of the estimated work by the processor that Core ML prefers for them."""
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
