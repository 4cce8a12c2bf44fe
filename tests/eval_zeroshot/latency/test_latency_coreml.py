"""Core ML by a pretended coremltools with the calls of coremltools 9."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from encoders.errors import InputError
from eval_zeroshot.latency.in_coreml import INT32, find_package, inputs_of, open_coreml, open_model
from eval_zeroshot.latency.opening import NotRunHere
from eval_zeroshot.latency.worker import time_calls


def feature(name, **kinds):
    ((kind, value),) = kinds.items()
    return SimpleNamespace(name=name, type=SimpleNamespace(WhichOneof=lambda group: kind, **{kind: value}))


class MLNeuralEngineComputeDevice:
    pass


class MLCPUComputeDevice:
    pass


@pytest.fixture
def coremltools():
    """Its benchmark takes 9 ms, then 3 ms a prediction; its plan puts one of two operations on the Neural Engine."""
    seen = SimpleNamespace(inputs=[], loads=0, plans=[])
    durations = iter([9.0, 3.0, 3.5])

    class MLModelBenchmarker:
        def __init__(self, model, device=None):
            self.model = model

        async def benchmark_load(self, iterations=1):
            seen.loads += iterations
            return SimpleNamespace(samples=[120.0])

        async def benchmark_predict(self, inputs=None, iterations=1, warmup=False):
            assert iterations == 1 and not warmup
            seen.inputs.append(inputs)
            return SimpleNamespace(samples=[next(durations)])

    usage = {"conv": MLNeuralEngineComputeDevice(), "gather": MLCPUComputeDevice(), "const": None}
    operations = list(usage)

    class MLComputePlan:
        model_structure = SimpleNamespace(
            program=SimpleNamespace(functions={"main": SimpleNamespace(block=SimpleNamespace(operations=operations))})
        )

        @classmethod
        def load_from_path(cls, path, compute_units):
            seen.plans.append((path, compute_units))
            return cls()

        def get_compute_device_usage_for_mlprogram_operation(self, operation):
            device = usage[operation]
            return None if device is None else SimpleNamespace(preferred_compute_device=device)

        def get_estimated_cost_for_mlprogram_operation(self, operation):
            return SimpleNamespace(weight=0.75) if operation == "conv" else None

    models = SimpleNamespace(
        ml_program=SimpleNamespace(
            experimental=SimpleNamespace(perf_utils=SimpleNamespace(MLModelBenchmarker=MLModelBenchmarker))
        ),
        compute_plan=SimpleNamespace(MLComputePlan=MLComputePlan),
    )
    return SimpleNamespace(models=models, seen=seen)


@pytest.fixture
def model():
    image = SimpleNamespace(width=96, height=64)
    points = SimpleNamespace(shape=[1, -1, 2], dataType=65568)
    labels = SimpleNamespace(shape=[1, 3], dataType=131104)
    inputs = [feature("image", imageType=image), feature("points", multiArrayType=points), feature("l", multiArrayType=labels)]
    description = SimpleNamespace(input=inputs)
    return SimpleNamespace(
        get_spec=lambda: SimpleNamespace(description=description),
        get_compiled_model_path=lambda: "compiled.mlmodelc",
        compute_unit="ALL",
    )


def test_calls_take_what_core_ml_says(coremltools, model):
    opened = open_model(model, coremltools=coremltools, name="Core ML", precision="fp16")
    assert coremltools.seen.loads == 1
    assert opened.call() == 9.0
    assert time_calls(opened, times=2).wall_ms == [3.0, 3.5]


def test_inputs_are_ours_since_the_benchmark_cannot_make_images(coremltools, model):
    opened = open_model(model, coremltools=coremltools, name="Core ML", precision="fp16")
    opened.call()
    (inputs,) = coremltools.seen.inputs
    assert inputs["image"].size == (96, 64) and inputs["image"].getpixel((90, 60)) == (124, 116, 104)
    assert inputs["points"].shape == (1, 1, 2) and inputs["points"].dtype == np.float32
    assert inputs["l"].tolist() == [[1, 1, 1]] and inputs["l"].dtype == np.int32


def test_an_input_that_is_neither_is_refused():
    with pytest.raises(InputError, match="'words' of the Core ML model is a stringType"):
        inputs_of(SimpleNamespace(input=[feature("words", stringType=None)]))


def test_placement_is_what_the_compute_plan_prefers(coremltools, model):
    placed = open_model(model, coremltools=coremltools, name="Core ML", precision="fp16").placement()
    assert {name: (one.operations, one.cost) for name, one in placed.items()} == {"Neural Engine": (1, 0.75), "CPU": (1, 0.0)}
    assert coremltools.seen.plans == [("compiled.mlmodelc", "ALL")]


def test_the_calls_are_those_of_the_installed_coremltools():
    pytest.importorskip("coremltools")
    import inspect

    from coremltools.models.compute_plan import MLComputePlan
    from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker

    assert {"inputs", "iterations", "warmup"} <= set(inspect.signature(MLModelBenchmarker.benchmark_predict).parameters)
    assert "iterations" in inspect.signature(MLModelBenchmarker.benchmark_load).parameters
    assert {"path", "compute_units"} <= set(inspect.signature(MLComputePlan.load_from_path).parameters)
    assert hasattr(MLComputePlan, "get_compute_device_usage_for_mlprogram_operation")
    assert hasattr(MLComputePlan, "get_estimated_cost_for_mlprogram_operation")
    from coremltools import proto

    assert proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.INT32 == INT32


def test_packages_are_found_by_their_part(tmp_path):
    (tmp_path / "RepViTImageEncoder.mlpackage").mkdir()
    (tmp_path / "RepViTMaskDecoder.mlpackage").mkdir()
    assert find_package(tmp_path, part="decoder").name == "RepViTMaskDecoder.mlpackage"
    (tmp_path / "other_encoder.mlpackage").mkdir()
    with pytest.raises(InputError, match="has 2 mlpackages with 'encoder'"):
        find_package(tmp_path, part="encoder")


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_elsewhere_it_says_that_it_does_not_run(spec):
    with pytest.raises(NotRunHere, match="macOS only"):
        open_coreml(spec("a", runtime="coreml"))
