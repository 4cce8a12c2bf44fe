"""Weights in fewer bits: which, how exactly, and that a model keeps its answer. On photos: benchmarks/quantisation.py."""

import numpy as np
import pytest
import torch
from torch import nn

from encoders.export.formats.onnx import OnnxFormat, open_session, store_weights, write_encoder
from encoders.export.formats.stored_weights import stored_as, to_eight_bits


def weight(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(shape).standard_normal(shape) * scale).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_eight_bits_are_off_by_half_a_step_of_their_own_channel_at_most(axis):
    array = weight(6, 5, 3)
    np.moveaxis(array, axis, 0)[1] *= 100  # one channel of large values must not coarsen the others
    restored = to_eight_bits(array, channel_axis=axis).restored()
    for found, expected in zip(np.moveaxis(restored, axis, 0), np.moveaxis(array, axis, 0), strict=True):
        step = (max(expected.max(), 0) - min(expected.min(), 0)) / 255
        assert np.abs(found - expected).max() <= step / 2 + 1e-6


def test_zeros_stay_zeros_also_where_a_channel_has_one_sign():
    array = np.abs(weight(4, 50)) + 1
    array[:, ::7] = 0
    array[3] = 0
    restored = to_eight_bits(array, channel_axis=0).restored()
    np.testing.assert_array_equal(restored[array == 0], 0)


@pytest.mark.parametrize(
    ("shape", "depthwise", "fp16", "int8"),
    [
        ((256, 256, 1, 1), False, "fp16", "int8"),
        ((64, 256), False, "fp16", "fp16"),
        ((64, 64), False, "fp32", "fp32"),
        ((16384, 1, 3, 3), True, "fp32", "fp32"),
        ((70000,), False, "fp32", "fp32"),
    ],
    ids=["large", "middling", "small", "depthwise", "vector"],
)
def test_only_large_dense_weights_are_stored_in_fewer_bits(shape, depthwise, fp16, int8):
    array = weight(*shape)
    assert stored_as(array, precision="fp16", depthwise=depthwise) == fp16
    assert stored_as(array, precision="int8", depthwise=depthwise) == int8
    assert stored_as(array, precision="fp32", depthwise=depthwise) == "fp32"


def test_what_fp16_cannot_hold_stays_as_it_is():
    assert stored_as(weight(128, 128, scale=1e5), precision="fp16", depthwise=False) == "fp32"


class Mixed(nn.Module):
    """Every operation whose weight may be stored, and a depthwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(192, 192, 1), nn.Conv2d(192, 192, 7, padding=3, groups=192), nn.ConvTranspose2d(192, 48, 2, stride=2)
        )
        self.linear = nn.Linear(48, 256)
        self.other = nn.Parameter(torch.randn(256, 160))

    def forward(self, image):
        return self.linear(self.layers(image).flatten(2).transpose(1, 2)) @ self.other


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A small model, its file, and what it answers. About 3 s."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    module, image = Mixed().eval(), torch.randn(1, 192, 3, 5)
    path = tmp_path_factory.mktemp("mixed") / "encoder.onnx"
    write_encoder(module, path, image=image)
    return path, image.numpy(), module(image).detach().numpy()


@pytest.mark.parametrize(("precision", "tolerance", "share"), [("fp16", 2e-3, 0.6), ("int8", 2e-2, 0.5)])
def test_an_onnx_file_gets_smaller_and_answers_nearly_the_same(mixed, tmp_path, precision, tolerance, share):
    path, image, expected = mixed
    smaller = tmp_path / "encoder.onnx"
    smaller.write_bytes(path.read_bytes())
    store_weights(smaller, precision=precision)
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.onnx"]
    assert smaller.stat().st_size < share * path.stat().st_size
    (found,) = open_session(smaller, threads=1).run(None, {"image": image})
    assert 0 < np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def test_an_onnx_file_holds_each_weight_once_in_its_own_kind(mixed, tmp_path):
    import onnx

    path, _, _ = mixed
    smaller = tmp_path / "encoder.onnx"
    smaller.write_bytes(path.read_bytes())
    store_weights(smaller, precision="int8")
    model = onnx.load(smaller)
    onnx.checker.check_model(model, full_check=True)
    kinds = sorted(
        (onnx.TensorProto.DataType.Name(one.data_type), int(np.prod(one.dims)))
        for one in model.graph.initializer
        if np.prod(one.dims) >= 8192
    )
    depthwise, dense = ("FLOAT", 192 * 49), [("FLOAT16", 48 * 256)]
    assert kinds == sorted([depthwise, *dense, *(("UINT8", n) for n in (192 * 192, 192 * 48 * 4, 256 * 160))])


def test_a_target_that_writes_its_own_files_offers_fp32_until_it_says_otherwise():
    class Plain(OnnxFormat):
        pass

    class Smaller(OnnxFormat):
        precisions = ("fp32", "int8")

    assert Plain.precisions == ("fp32",)
    assert Smaller.precisions == ("fp32", "int8")
    assert OnnxFormat.precisions == ("fp32", "fp16", "int8")
