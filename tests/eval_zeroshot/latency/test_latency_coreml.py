"""Core ML by a simulated package with the calls of coremltools 9."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from encoders.errors import InputError
from eval_zeroshot.latency.subjects.coreml_inputs import INT32, inputs_of
from eval_zeroshot.latency.subjects.in_coreml import find_package, open_coreml, open_model
from eval_zeroshot.latency.subjects.opening import NotRunHere
from eval_zeroshot.latency.timing.worker import time_calls


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


def array(shape, *, kind=65568, listed=None, ranges=None):
    """An `ArrayFeatureType` of Model.proto: fixed, one of a list of shapes, or with a range for each axis."""
    flexibility = "enumeratedShapes" if listed else "shapeRange" if ranges else None
    return SimpleNamespace(
        shape=shape,
        dataType=kind,
        WhichOneof=lambda group: flexibility,
        enumeratedShapes=SimpleNamespace(shapes=[SimpleNamespace(shape=one) for one in listed or ()]),
        shapeRange=SimpleNamespace(sizeRanges=[SimpleNamespace(lowerBound=low, upperBound=up) for low, up in ranges or ()]),
    )


def decoder(coords, labels):
    inputs = {"image_embeddings": array([1, 256, 4, 4]), "point_coords": coords, "point_labels": labels}
    return SimpleNamespace(input=[feature(name, multiArrayType=value) for name, value in inputs.items()])


FIXED = decoder(array([1, 3, 2]), array([1, 3], kind=INT32))
LISTED = decoder(
    array([1, 1, 2], listed=[[p, n, 2] for p in (1, 8) for n in (1, 2, 3)]),
    array([1, 1], kind=INT32, listed=[[p, n] for p in (1, 8) for n in (1, 2, 3)]),
)
RANGED = decoder(
    array([1, 4, 2], ranges=[(1, 16), (4, 6), (2, 2)]),
    array([1, 4], kind=INT32, ranges=[(1, 16), (4, 6)]),
)
UNBOUNDED = decoder(
    array([1, 1, 2], ranges=[(2, -1), (1, -1), (2, 2)]), array([1, 1], kind=INT32, ranges=[(2, -1), (1, -1)])
)


def loaded(description):
    return SimpleNamespace(
        get_spec=lambda: SimpleNamespace(description=description),
        get_compiled_model_path=lambda: "compiled.mlmodelc",
        compute_unit="ALL",
    )


@pytest.fixture
def model():
    image = SimpleNamespace(width=96, height=64)
    return loaded(SimpleNamespace(input=[feature("image", imageType=image)]))


@pytest.fixture
def opened(coremltools, model, spec):
    return open_model(model, spec=spec("a"), coremltools=coremltools, name="Core ML", precision="fp16")


def test_calls_take_what_core_ml_says(coremltools, opened):
    assert coremltools.seen.loads == 1
    assert opened.call() == 9.0
    assert time_calls(opened, times=2).wall_ms == [3.0, 3.5]


def test_inputs_are_ours_since_the_benchmark_cannot_make_images(coremltools, opened):
    opened.call()
    (inputs,) = coremltools.seen.inputs
    assert inputs["image"].size == (96, 64) and inputs["image"].getpixel((90, 60)) == (124, 116, 104)
    assert opened.detail() == {}


@pytest.mark.parametrize(
    ("description", "prompts", "points"),
    [(FIXED, 1, 3), (LISTED, 1, 2), (LISTED, 8, 2), (RANGED, 16, 4), (UNBOUNDED, 64, 2)],
)
def test_a_decoder_gets_as_many_prompts_as_asked(coremltools, spec, description, prompts, points):
    asked = spec("a", part="decoder", prompts=prompts, image_size=64)
    opened = open_model(loaded(description), spec=asked, coremltools=coremltools, name="Core ML", precision="fp16")
    opened.call()
    (inputs,) = coremltools.seen.inputs
    coords, labels = inputs["point_coords"], inputs["point_labels"]
    assert inputs["image_embeddings"].shape == (1, 256, 4, 4)
    assert coords.shape == (prompts, points, 2) and coords.dtype == np.float32 and 0 < coords[:, 0].max() < 64
    assert labels.tolist() == [[1] + [-1] * (points - 1)] * prompts and labels.dtype == np.int32
    assert opened.detail() == {"prompts": prompts}


@pytest.mark.parametrize(
    ("description", "takes"), [(FIXED, "1"), (LISTED, "1, 8"), (RANGED, "1 to 16")], ids=["fixed", "listed", "ranged"]
)
def test_other_numbers_of_prompts_than_the_decoder_takes_are_refused(coremltools, spec, description, takes):
    asked = spec("a", part="decoder", prompts=64)
    with pytest.raises(InputError, match=f"--prompts 64: this Core ML decoder takes {takes} in a call"):
        open_model(loaded(description), spec=asked, coremltools=coremltools, name="Core ML", precision="fp16")


def test_shapes_are_read_from_core_mls_own_format():
    pytest.importorskip("coremltools")
    from coremltools import proto

    description = proto.Model_pb2.ModelDescription()
    for name, last in (("point_coords", [2]), ("point_labels", [])):
        kind = description.input.add(name=name).type.multiArrayType
        kind.shape.extend([1, 1, *last])
        for points in (1, 2, 3):
            kind.enumeratedShapes.shapes.add().shape.extend([4, points, *last])
    found = inputs_of(description, prompts=4, image_size=64)
    assert found["point_coords"].shape == (4, 2, 2) and found["point_labels"].shape == (4, 2)
    ranged = description.input[0].type.multiArrayType.shapeRange.sizeRanges
    for low, high in ((1, -1), (3, 5), (2, 2)):
        ranged.add(lowerBound=low, upperBound=high)
    assert inputs_of(description, prompts=4, image_size=64)["point_coords"].shape == (4, 3, 2)


def test_an_input_of_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="'words' of the Core ML model is a stringType"):
        inputs_of(SimpleNamespace(input=[feature("words", stringType=None)]), prompts=None, image_size=64)


def test_placement_is_what_the_compute_plan_prefers(coremltools, opened):
    placed = opened.placement()
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
