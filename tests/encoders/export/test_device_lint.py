"""The lint of Core ML programs: every rule on a program built by hand."""

import numpy as np
import pytest

from encoders.export.device_lint import RULES, lint_program
from encoders.export.mil import Constant, TensorType
from tests.encoders.export.lint_programs import MAP, given, named, program


def conv(kernel=(3, 3), **parameters):
    """Return the names of the rules that name a convolution of (1, 64, 32, 32) with the given integer parameters."""
    constants = {"w": Constant(TensorType("fp16", (64, 64, *kernel)), np.zeros(0, np.float16))}
    constants.update({key: given(value) for key, value in parameters.items()})
    names = {"x": "x", "weight": "w", **{key: key for key in parameters}}
    return named(("conv", "y", "fp16", MAP, names), constants=constants)


def pool(kernel, stride):
    constants = {"k": given([kernel, kernel]), "s": given([stride, stride])}
    return named(("avg_pool", "y", "fp16", MAP, {"x": "x", "kernel_sizes": "k", "strides": "s"}), constants=constants)


def test_no_rule_names_a_plain_convolution_in_half_precision():
    assert conv() == set()
    assert conv(strides=[2, 2], dilations=[1, 1]) == set()


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        (("relu", "y", "fp16", (1, 1, 2, 2, 16, 32), {"x": "x"}), "rank above 5"),
        (("cast", "y", "fp32", MAP, {"x": "x"}), "fp32"),
        (("equal", "y", "bool", MAP, {"x": "x", "y": "x"}), "other types"),
        (("relu", "y", "fp16", (1, None, 32), {"x": "x"}), "dynamic shape"),
        (("gather", "y", "fp16", MAP, {"x": "x", "indices": "x"}), "gather"),
        (("lstm", "y", "fp16", MAP, {"x": "x"}), "recurrent"),
        (("upsample_bilinear", "y", "fp16", (1, 64, 96, 32), {"x": "x"}), "large upsampling"),
        (("linear", "y", "fp16", MAP, {"x": "x"}), "linear layer"),
    ],
)
def test_an_operation_is_named_by_its_own_rule_only(operation, rule):
    assert named(operation) == {rule}


def test_enumerated_shapes_are_not_dynamic_but_computed_shapes_are():
    step = ("relu", "y", "fp16", (1, None, 32), {"x": "x"})
    assert named(step, shapes=((1, 2, 32), (1, 4, 32))) == set()
    shape = ("shape", "s", "int32", (32,), {"x": "x"})
    assert "dynamic operation" in named(shape, ("reshape", "y", "fp16", MAP, {"x": "x", "shape": "s"}))
    fixed = ("reshape", "y", "fp16", (64, 32, 32), {"x": "x", "shape": "c"})
    assert named(fixed, constants={"c": given([64, 32, 32])}) == set()


@pytest.mark.parametrize(
    ("parameters", "rules"),
    [
        ({"dilations": [1, 2]}, {"dilated convolution"}),
        ({"dilations": [8, 8]}, {"dilated convolution", "large dilation"}),
        ({"strides": [11, 11]}, {"convolution stride"}),
        ({"strides": [16, 16]}, set()),
        ({"strides": [2, 4]}, set()),
        ({"strides": [7, 5]}, {"convolution stride"}),
        ({"kernel": (9, 9)}, {"large kernel"}),
        ({"kernel": (7, 7)}, set()),
    ],
)
def test_convolutions_are_named_by_stride_dilation_and_kernel(parameters, rules):
    assert conv(**parameters) == rules


@pytest.mark.parametrize(
    ("kernel", "stride", "rules"),
    [(14, 1, {"large pooling"}), (13, 2, set()), (3, 3, {"large pooling", "pooling stride"}), (3, 4, {"large pooling"})],
)
def test_poolings_are_named_by_kernel_and_stride(kernel, stride, rules):
    assert pool(kernel, stride) == rules


def test_two_sources_may_disagree_and_both_are_cited():
    by_name = {rule.name: rule for rule in RULES}
    assert by_name["large pooling"].source != by_name["pooling stride"].source  # one advises a stride of 4, one forbids it
    for rule in RULES:
        assert rule.source.url.startswith("https://") and rule.sentence.endswith(".") and rule.source.standing
    assert "possibly wrong" in by_name["gather"].source.standing


def test_multiplying_by_one_value_per_channel_is_named_if_neither_factor_is_constant():
    gate = ("reduce_mean", "g", "fp16", (1, 64, 1, 1), {"x": "x"})
    assert "channel broadcast" in named(gate, ("mul", "y", "fp16", MAP, {"x": "x", "y": "g"}))
    constants = {"c": given(np.zeros((1, 64, 1, 1), np.float16))}
    assert named(("mul", "y", "fp16", MAP, {"x": "x", "y": "c"}), constants=constants) == set()
    assert named(("mul", "y", "fp16", MAP, {"x": "x", "y": "x"})) == set()


def test_a_decomposed_normalisation_is_named_once_at_its_division():
    steps = (
        ("reduce_mean", "m", "fp16", (1, 1, 32, 32), {"x": "x"}),
        ("sub", "d", "fp16", MAP, {"x": "x", "y": "m"}),
        ("square", "q", "fp16", MAP, {"x": "d"}),
        ("reduce_mean", "v", "fp16", (1, 1, 32, 32), {"x": "q"}),
        ("sqrt", "r", "fp16", (1, 1, 32, 32), {"x": "v"}),
        ("real_div", "y", "fp16", MAP, {"x": "d", "y": "r"}),
    )
    report = lint_program(program(*steps), name="it")
    (finding,) = report.findings
    assert (finding.rule.name, finding.operations, finding.examples) == ("decomposed normalisation", {"real_div": 1}, ("y",))


def test_softmax_is_named_unless_it_runs_over_the_channels():
    for axis, rules in ((1, set()), (-1, {"softmax over space"}), (2, {"softmax over space"})):
        step = ("softmax", "y", "fp16", MAP, {"x": "x", "axis": "a"})
        assert named(step, constants={"a": given(axis)}) == rules


def test_the_last_axis_is_measured_in_bytes():
    inside = ("relu", "a", "fp16", (1, 64, 49), {"x": "x"})
    out = ("relu", "y", "fp16", MAP, {"x": "a"})
    assert named(inside, out) == {"unaligned last axis"}  # 98 bytes
    assert named(("relu", "a", "int8", (1, 4, 64), {"x": "x"}), out) == set()
    assert named(("relu", "a", "int8", (1, 4, 32), {"x": "x"}), out) == {"unaligned last axis"}
    assert named(("relu", "a", "fp16", (1, 64, 1), {"x": "x"}), out) == {"singleton last axis"}
    assert named(("relu", "y", "fp16", (1, 64, 48), {"x": "x"})) == {"unaligned interface"}
    assert named(("relu", "y", "fp16", MAP, {"x": "p"}), inputs=(("p", "fp16", (2, 3, 2)),)) == {"unaligned interface"}


def test_transposes_and_reshapes_are_named_if_they_change_the_last_axis():
    def transposed(perm, shape):
        return named(("transpose", "y", "fp16", shape, {"x": "x", "perm": "p"}), constants={"p": given(perm)})

    assert transposed([0, 2, 1, 3], (1, 32, 64, 32)) == set()
    assert transposed([0, 2, 3, 1], (1, 32, 32, 64)) == {"moved last axis"}
    step = ("reshape", "y", "fp16", (1, 64, 1024), {"x": "x", "shape": "s"})
    assert named(step, constants={"s": given([1, 64, 1024])}) == {"moved last axis"}


def test_palettised_convolutions_are_named_by_rank_and_stride():
    def palettised(scaled):
        table = ("constexpr_lut_to_dense", "t", "fp16", (64, 64, 3, 3), {"indices": "i", "lut": "l"})
        scale = ("constexpr_blockwise_shift_scale", "w", "fp16", (64, 64, 3, 3), {"data": "t", "scale": "c"})
        weight = "w" if scaled else "t"
        use = ("conv", "y", "fp16", MAP, {"x": "x", "weight": weight, "strides": "s"})
        constants = {
            "i": Constant(TensorType("uint6", (64, 64, 3, 3)), np.zeros(0, np.uint8)),
            "l": Constant(TensorType("fp16", (1, 1, 1, 1, 64, 1)), np.zeros(0, np.float16)),
            "c": Constant(TensorType("fp16", (64, 1, 1, 1)), np.zeros(0, np.float16)),
            "s": given([4, 4]),
        }
        return lint_program(program(*((table, scale) if scaled else (table,)), use, constants=constants), name="it")

    assert {finding.rule.name for finding in palettised(True).findings} == {"palette of rank 6"}
    assert {finding.rule.name for finding in palettised(False).findings} == {"palettised stride"}
    assert palettised(True).operations == {"conv": 1}  # operations that unpack constants are not counted
