"""Packages written by coremltools: what is read from them, and the errors for incomplete ones."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from torch import nn

from encoders.errors import InputError, MissingExtra
from encoders.export.mil import Interpreter, read_package
from encoders.export.mil.blobs import Blob

ct = pytest.importorskip("coremltools", reason="makes the packages")

SCALE, BIAS = 1 / 58, (-2.1, -2.0, -1.8)


class Small(nn.Module):
    """Strides and sizes differ between the axes, so that swapping the axes fails."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 16, (3, 5), stride=(1, 2), padding=(1, 2))
        self.second = nn.Conv2d(16, 8, 1)

    def forward(self, image):
        x = torch.nn.functional.gelu(self.first(image))
        return self.second(x), x.mean((2, 3))


def pixels():
    return np.random.default_rng(0).integers(0, 256, (1, 3, 10, 24), dtype=np.uint8)


def wanted(module, image):
    scaled = torch.from_numpy(image) * SCALE + torch.tensor(BIAS).view(1, 3, 1, 1)
    with torch.no_grad():
        return [one.numpy() for one in module(scaled)]


@pytest.fixture(scope="module")
def package(save_package):
    image = ct.ImageType(name="photo", shape=(1, 3, 10, 24), color_layout=ct.colorlayout.RGB, scale=SCALE, bias=list(BIAS))
    return save_package(Small(), torch.zeros(1, 3, 10, 24), inputs=[image])


@pytest.fixture
def copied(package, tmp_path):
    return shutil.copytree(package, tmp_path / "Copy.mlpackage")


def test_a_float32_package_computes_what_torch_does_including_scale_and_bias(package):
    program = read_package(package)
    found = Interpreter(program).predict({"photo": pixels()})
    for got, want in zip(found.values(), wanted(Small(), pixels()), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert (program.opset, program.outputs) == ("CoreML7", ("out0", "out1"))
    (photo,) = program.inputs
    assert (photo.name, photo.kind, photo.colours, photo.type.shape) == ("photo", "image", "RGB", (1, 3, 10, 24))
    assert program.metadata["com.github.apple.coremltools.version"]


def test_a_half_precision_package_differs_from_torch_by_rounding(save_package):
    image = ct.ImageType(name="photo", shape=(1, 3, 10, 24), color_layout=ct.colorlayout.BGR, scale=SCALE, bias=list(BIAS))
    path = save_package(Small(), torch.zeros(1, 3, 10, 24), inputs=[image], half=True)
    found = Interpreter(read_package(path)).predict({"photo": pixels()})["out0"]
    want = wanted(Small(), np.ascontiguousarray(pixels()[:, ::-1]))[0]  # this model takes BGR
    error = np.linalg.norm(found - want) / np.linalg.norm(want)
    assert 1e-4 < error < 2e-3


def test_scaling_one_tensor_in_the_weights_file_changes_the_output(copied):
    before = Interpreter(read_package(copied)).predict({"photo": pixels()})
    program = read_package(copied)
    blobs = [one.source for one in program.constants.values() if isinstance(one.source, Blob)]
    largest = max(blobs, key=lambda blob: blob.bytes)
    content = bytearray(largest.path.read_bytes())
    content[largest.offset : largest.offset + largest.bytes] = (largest.read() * np.float32(1.05)).tobytes()
    largest.path.write_bytes(content)
    after = Interpreter(read_package(copied)).predict({"photo": pixels()})
    assert np.abs(after["out0"] - before["out0"]).max() > 1e-3


def test_a_program_can_list_several_input_shapes(save_package):
    class Sum(nn.Module):
        def forward(self, points):
            return (points * torch.tensor([2.0, -1.0])).sum(1)

    shapes = ct.EnumeratedShapes(shapes=[(2, 3, 2), (2, 5, 2)], default=(2, 3, 2))
    path = save_package(
        Sum(),
        torch.zeros(2, 3, 2),
        inputs=[ct.TensorType(name="points", shape=shapes)],
        target="iOS18",
        dynamic_shapes=({1: torch.export.Dim("n", min=3, max=5)},),
    )
    assert read_package(path).inputs[0].shapes == ((2, 3, 2), (2, 5, 2))
    points = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)
    found = Interpreter(read_package(path)).predict({"points": points})["out0"]
    np.testing.assert_allclose(found, (points * [2, -1]).sum(1), atol=1e-5)


def test_an_unsupported_operation_is_named_with_the_package(save_package):
    class Ranked(nn.Module):
        def forward(self, x):
            return torch.topk(x, 2, dim=1).values

    path = save_package(Ranked(), torch.rand(2, 5))
    with pytest.raises(InputError, match=rf"{path}: operations that cannot be interpreted: topk"):
        Interpreter(read_package(path))


def test_a_missing_or_empty_package_is_an_input_error(tmp_path):
    (tmp_path / "empty.mlpackage").mkdir()
    with pytest.raises(InputError, match="does not exist or is not a folder"):
        read_package(tmp_path / "none.mlpackage")
    with pytest.raises(InputError, match="not a Core ML package: its Manifest.json is missing or damaged"):
        read_package(tmp_path / "empty.mlpackage")


def test_a_package_without_model_or_weights_is_an_input_error(copied):
    shutil.rmtree(copied / "Data" / "com.apple.CoreML" / "weights")
    with pytest.raises(InputError, match=r"weight\.bin, which holds weights, is missing"):
        read_package(copied)
    (copied / "Data" / "com.apple.CoreML" / "model.mlmodel").unlink()
    with pytest.raises(InputError, match=r"lacks Data/com\.apple\.CoreML/model\.mlmodel"):
        read_package(copied)
    (copied / "Manifest.json").write_text(json.dumps({"rootModelIdentifier": "x", "itemInfoEntries": []}))
    with pytest.raises(InputError, match=r"Manifest\.json is missing or damaged"):
        read_package(copied)


def test_a_truncated_model_or_weights_file_is_an_input_error(copied):
    weights = copied / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    weights.write_bytes(weights.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"weight\.bin"):
        read_package(copied)
    model = copied / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model.write_bytes(model.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"model\.mlmodel is damaged"):
        read_package(copied)


def test_another_kind_of_core_ml_model_is_an_input_error(copied):
    from coremltools.proto import Model_pb2

    path = copied / "Data" / "com.apple.CoreML" / "model.mlmodel"
    other = Model_pb2.Model()
    other.neuralNetwork.SetInParent()
    path.write_bytes(other.SerializeToString())
    with pytest.raises(InputError, match="of type neuralNetwork; expected an ML program"):
        read_package(copied)


@pytest.mark.parametrize(
    "elsewhere", [b"@model_path/../../../sec/x.bin", b"@model_path//some/where/xa.bin", b"/model_path/weights/weight.bin"]
)
def test_weights_outside_the_package_are_refused(copied, elsewhere):
    from coremltools.proto import Model_pb2

    path = copied / "Data" / "com.apple.CoreML" / "model.mlmodel"
    content = path.read_bytes()
    assert b"@model_path/weights/weight.bin" in content
    Model_pb2.Model().ParseFromString(content)
    path.write_bytes(content.replace(b"@model_path/weights/weight.bin", elsewhere))
    with pytest.raises(InputError, match="outside its package"):
        read_package(copied)


def test_without_coremltools_the_extra_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "coremltools", None)
    monkeypatch.delitem(sys.modules, "coremltools.proto", raising=False)
    with pytest.raises(MissingExtra, match=r"repvit-sam\[coreml\]"):
        read_package(package)
