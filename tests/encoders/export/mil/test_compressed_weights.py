"""Compressed constants: examples from coremltools' definitions, and compressed packages against coremltools' decompression."""

import numpy as np
import pytest
import torch
from torch import nn

from encoders.export.mil import Interpreter, Operation, Program, TensorType, Variable, read_package


def test_linear_quantisation_with_a_scale_and_a_zero_point_for_each_channel(compute):
    data = np.asarray([[[-128, 0], [127, 5]]], np.int8)  # (1, 2, 2), channels on axis 1
    got = compute("constexpr_affine_dequantize", gives=(1, 2, 2), quantized_data=data, scale=np.asarray([0.5, 2], np.float32),
                  zero_point=np.asarray([-28, 7], np.int8), axis=1)  # fmt: skip
    assert got.tolist() == [[[-50, 14], [240, -4]]]


def test_linear_quantisation_with_a_scale_and_an_offset_for_each_block(compute):
    data = np.asarray([[1, 2, 3, 4], [5, 6, 7, 8]], np.uint8)
    got = compute("constexpr_blockwise_shift_scale", gives=(2, 4), data=data, scale=np.asarray([[1, 10], [2, 0.5]], np.float32),
                  offset=np.asarray([[1, 2], [3, 4]], np.uint8))  # fmt: skip
    assert got.tolist() == [[0, 1, 10, 20], [4, 6, 1.5, 2]]


def test_a_look_up_table_with_packed_indices(compute):
    got = compute("constexpr_lut_to_dense", gives=(5, 1), indices=np.asarray([0b01101100, 0b00000011], np.uint8),
                  lut=np.asarray([10, 11, 12, 13], np.float32), shape=[5, 1])  # fmt: skip
    assert got[:, 0].tolist() == [10, 13, 12, 11, 13]


def test_a_look_up_table_for_each_group_of_rows(compute):
    indices = np.asarray([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], np.uint8).reshape(6, 2)
    lut = np.asarray([1, 5, 9, 13, 2, 10, 18, 26], np.float32).reshape(2, 1, 4, 1)
    got = compute("constexpr_lut_to_dense", gives=(6, 2), indices=indices, lut=lut)
    assert got.tolist() == [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_the_elements_of_a_vector_entry_are_laid_out_along_an_axis(compute, axis):
    indices = np.asarray([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], np.uint8)
    a, b = [1, 2, 3], [4, 5, 6]
    lut = np.asarray([a, b], np.float32).reshape(1, 1, 1, 2, 3)
    if axis == 1:
        want = [[[1, 1], [2, 2], [3, 3], [4, 1], [5, 2], [6, 3]], [[4, 4], [5, 5], [6, 6], [1, 1], [2, 2], [3, 3]]]
    else:
        want = [[a + a, b + a], [b + b, a + a]]
    got = compute("constexpr_lut_to_dense", gives=np.shape(want), indices=indices, lut=lut, vector_axis=axis)
    assert got.tolist() == want


def test_sparse_values_are_placed_where_the_mask_is_set(compute):
    values = np.asarray([3, 5], np.float32)
    got = compute("constexpr_sparse_to_dense", gives=(5,), nonzero_data=values, mask=np.asarray([0b01100], np.uint8), shape=[5])
    assert got.tolist() == [0, 0, 3, 5, 0]
    got = compute("constexpr_sparse_to_dense", gives=(1, 3), nonzero_data=values, mask=np.asarray([[1, 0, 1]], np.uint8))
    assert got.tolist() == [[3, 0, 5]]


def test_operations_may_share_packed_constants(constant_of):
    def unpacked(name, data):
        inputs = {"data": (data,), "scale": ("scale",)}
        return Operation("constexpr_blockwise_shift_scale", name, inputs, (Variable(name, TensorType("fp32", (1, 2))),))

    added = Operation("add", "sum", {"x": ("a",), "y": ("b",)}, (Variable("sum", TensorType("fp32", (1, 2))),))
    last = Operation("mul", "y", {"x": ("sum",), "y": ("scale",)}, (Variable("y", TensorType("fp32", (1, 2))),))
    program = Program(
        opset="CoreML8",
        inputs=(),
        outputs=("y",),
        operations=(unpacked("a", "packed"), unpacked("b", "packed"), unpacked("unused", "other"), added, last),
        constants={
            "packed": constant_of(np.asarray([[1, 2]], np.uint8)),
            "other": constant_of(np.asarray([[3, 4]], np.uint8)),
            "scale": constant_of(np.asarray([[10]], np.float32)),
        },
        metadata={},
    )
    interpreter = Interpreter(program)
    for _ in range(2):
        assert interpreter.predict({})["y"].tolist() == [[200, 400]]  # 10 (10 (1, 2) + 10 (1, 2))
    assert set(interpreter._constants) == {"a", "b", "scale"}  # packed data is freed


EXAMPLE = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 8, 6, 9)).astype(np.float32))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(8, 32, (3, 5), padding=(1, 2))
        self.linear = nn.Linear(32, 24)

    def forward(self, x):
        return self.linear(torch.relu(self.conv(x)).mean((2, 3)))


def changes():
    """Return name -> (deployment target, function that compresses a coremltools model, resulting constexpr operation)."""
    cto = pytest.importorskip("coremltools.optimize.coreml", reason="compresses the packages")

    def by(kind, **options):
        config = cto.OptimizationConfig(global_config=getattr(cto, f"Op{kind}Config")(weight_threshold=100, **options))
        compress = {
            "LinearQuantizer": cto.linear_quantize_weights,
            "Palettizer": cto.palettize_weights,
            "MagnitudePruner": cto.prune_weights,
        }[kind]
        return lambda model: compress(model, config=config)

    groups = {"granularity": "per_grouped_channel", "group_size": 8}
    return {
        "linear": ("iOS17", by("LinearQuantizer", mode="linear"), "constexpr_affine_dequantize"),
        "linear, newer": ("iOS18", by("LinearQuantizer", mode="linear"), "constexpr_blockwise_shift_scale"),
        "4 bits in blocks": (
            "iOS18",
            by("LinearQuantizer", mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=8),
            "constexpr_blockwise_shift_scale",
        ),
        "8 bits": ("iOS17", by("Palettizer", mode="uniform", nbits=8), "constexpr_lut_to_dense"),
        "6 bits": ("iOS17", by("Palettizer", mode="uniform", nbits=6), "constexpr_lut_to_dense"),
        "6 bits, newer": ("iOS18", by("Palettizer", mode="uniform", nbits=6), "constexpr_lut_to_dense"),
        "3 bits in groups": ("iOS18", by("Palettizer", mode="uniform", nbits=3, **groups), "constexpr_lut_to_dense"),
        "sparse": ("iOS17", by("MagnitudePruner", target_sparsity=0.5), "constexpr_sparse_to_dense"),
    }


@pytest.fixture(scope="module")
def models(convert_module):
    """The module converted in half precision, by deployment target."""
    return {target: convert_module(Two(), EXAMPLE, half=True, target=target) for target in ("iOS17", "iOS18")}


@pytest.mark.parametrize(
    "name", ["linear", "linear, newer", "4 bits in blocks", "8 bits", "6 bits", "6 bits, newer", "3 bits in groups", "sparse"]
)
def test_a_compressed_package_computes_what_its_decompressed_one_does(models, save_model, name):
    import coremltools.optimize.coreml as cto

    from encoders.export.formats.coreml_convert import quiet

    target, compress, kind = changes()[name]
    with quiet():
        model = compress(models[target])
        packed, plain = (read_package(save_model(one)) for one in (model, cto.decompress_weights(model)))
    assert {one.type for one in packed.operations if one.unpacks} == {kind}
    assert not any(one.unpacks for one in plain.operations)
    got, want = (Interpreter(program).predict({"in0": EXAMPLE.numpy()})["out0"] for program in (packed, plain))
    np.testing.assert_array_equal(got, want)
    with torch.no_grad():
        whole = Two()(EXAMPLE).numpy()
    assert 1e-4 < np.linalg.norm(got - whole) / np.linalg.norm(whole) < 0.6  # compression lost something, but not everything
