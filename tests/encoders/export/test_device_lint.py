"""The lint of Core ML programs: every rule on a program built by hand, bytes computed by hand, and counts of known models."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.errors import InputError
from encoders.export.certification.fusion_check import randomize_batchnorm
from encoders.export.device_lint import RULES, SAYS, lint_program
from encoders.export.device_lint.liveness import activations
from encoders.export.mil import Constant, Operation, Program, ProgramInput, TensorType, Variable
from encoders.export.mil.blobs import Blob
from encoders.export.untrained import untrained_subject
from encoders.fusion import fuse
from encoders.registry import fresh_sam


def given(value):
    array = np.asarray(value)
    return Constant(TensorType("int32" if array.dtype.kind == "i" else "fp16", array.shape), array)


def program(*operations, inputs=(("x", "fp16", (1, 64, 32, 32)),), outputs=None, constants=None, shapes=()):
    """Return a program of operations (type, result, dtype, shape, inputs by parameter) and inputs (name, dtype, shape)."""
    made = tuple(
        Operation(kind, result, {key: (name,) for key, name in names.items()}, (Variable(result, TensorType(dtype, shape)),))
        for kind, result, dtype, shape, names in operations
    )
    return Program(
        opset="CoreML7",
        inputs=tuple(ProgramInput(name, TensorType(dtype, shape), shapes=shapes) for name, dtype, shape in inputs),
        outputs=tuple(outputs or [made[-1].outputs[0].name]),
        operations=made,
        constants=constants or {},
        metadata={},
    )


def named(*operations, **options):
    """Return the names of the rules that name an operation."""
    return {finding.rule.name for finding in lint_program(program(*operations, **options), name="it").findings}


MAP = (1, 64, 32, 32)
WEIGHT = {"w": Constant(TensorType("fp16", (64, 64, 3, 3)), np.zeros(0, np.float16))}


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


def test_peak_bytes_are_those_of_the_values_alive_at_the_same_time():
    steps = (
        ("conv", "a", "fp16", (100,), {"x": "x"}),  # x 80 + a 200 = 280
        ("gelu", "b", "fp16", (100,), {"x": "a"}),  # x is still read later: 80 + 200 + 200 = 480
        ("conv", "c", "fp16", (40,), {"x": "b"}),  # 80 + 200 + 80
        ("add", "y", "fp16", (40,), {"x": "c", "y": "x"}),
        ("relu", "dead", "fp16", (10,), {"x": "y"}),
    )
    counted = activations(program(*steps, inputs=(("x", "fp16", (40,)),), outputs=["y"]))
    assert (counted.peak, counted.at.outputs[0].name, counted.written) == (480, "b", 200 + 200 + 80 + 80 + 20)
    assert not counted.unknown_sizes


def test_the_inputs_may_be_the_peak_and_unknown_sizes_are_reported():
    counted = activations(
        program(("relu", "y", "fp16", (None, 4), {"x": "x"}), inputs=(("x", "fp32", (9,)), ("z", "fp32", (9,))))
    )
    assert (counted.peak, counted.written, counted.unknown_sizes) == (80, 8, True)


def test_the_report_counts_operations_by_type_and_states_its_limits():
    steps = (
        ("cast", "a", "fp32", MAP, {"x": "x"}),
        ("gather", "b", "fp32", MAP, {"x": "a"}),
        ("relu", "c", "fp16", MAP, {"x": "b"}),
        ("relu", "y", "fp16", MAP, {"x": "c"}),
    )
    report = lint_program(program(*steps), name="mine")
    assert (report.total, report.operations) == (4, {"relu": 2, "cast": 1, "gather": 1})
    assert report.named_as_leaving == 2  # one of them by two rules
    found = {finding["rule"]: finding for finding in report.json()["findings"]}
    assert found["fp32"]["operations"] == {"cast": 1, "gather": 1} and found["gather"]["count"] == 1
    assert "do not say where an operation runs" in SAYS and "runs out of memory" in SAYS


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image):
        return self.conv(image).relu()


def test_parameters_are_counted_as_stored(tmp_path):
    pytest.importorskip("coremltools", reason="makes the package")
    from encoders.export.device_lint.convert import lint_package
    from encoders.export.formats.coreml_convert import convert, need_coremltools, save

    ct = need_coremltools()
    image = ct.ImageType(name="image", shape=(1, 3, 32, 64))
    model = convert(Tiny().eval(), (torch.zeros(1, 3, 32, 64),), inputs=[image], outputs=[ct.TensorType(name="y")], half=True,
                    target="iOS17")  # fmt: skip
    save(model, tmp_path / "Tiny.mlpackage")
    report = lint_package(tmp_path / "Tiny.mlpackage")
    assert (report.name, report.operations) == ("Tiny.mlpackage", {"cast": 1, "conv": 1, "relu": 1})
    assert report.parameter_bytes == (8 * 3 * 9) * 2  # the eight biases are in the specification
    assert report.written_bytes == (3 + 8 + 8) * 32 * 64 * 2
    assert report.peak_bytes == 2 * 8 * 32 * 64 * 2 and report.peak_at == "relu -> fp16 (1, 8, 32, 64)"


def test_tensors_at_the_same_offset_of_two_weights_files_are_both_counted(tmp_path):
    def stored(name):
        return Constant(TensorType("fp16", (4,)), Blob(tmp_path / name, dtype="fp16", offset=128, bytes=8, elements=4))

    constants = {"w": stored("a.bin"), "again": stored("a.bin"), "v": stored("b.bin")}
    step = ("add", "y", "fp16", MAP, {"x": "x", "y": "w"})
    assert lint_program(program(step, constants=constants), name="it").parameter_bytes == 16


def test_a_program_with_a_missing_parameter_is_an_input_error():
    with pytest.raises(InputError, match="the program is damaged.*KeyError: 'y'.*export the model again"):
        lint_program(program(("mul", "z", "fp16", MAP, {"x": "x"})), name="it")


def test_an_unknown_part_is_an_input_error():
    from encoders.export.device_lint.convert import lint_model

    pytest.importorskip("coremltools", reason="is checked first")
    with pytest.raises(InputError, match="unknown part 'neck'; expected one of encoder, decoder"):
        lint_model(nn.Module(), name="it", part="neck")


@pytest.mark.slow  # about 10 s
def test_the_decoder_is_linted_for_one_box_so_that_all_sizes_are_known():
    pytest.importorskip("coremltools", reason="makes the package")
    from encoders.export.device_lint.convert import lint_model

    report = lint_model(untrained_subject("repvit_m0_6", image_size=64), name="it", part="decoder")
    assert not report.unknown_sizes and report.operations["softmax"] == 7 and report.operations["conv_transpose"] == 2
    assert report.peak_bytes > 4 * 16 * 16 * 2  # the masks alone
    found = {finding.rule.name: finding for finding in report.findings}
    assert "dynamic shape" not in found and "softmax over space" in found
    assert found["fp32"].count >= 3  # the position encoding, which is kept in float32 on purpose


class Normalised(nn.Module):
    """Normalises the pixels before an encoder in two operations; the exported encoder needs five more for exact padding."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1))
        self.register_buffer("factor", 1 / torch.tensor(PIXEL_STD).view(1, 3, 1, 1))

    def forward(self, image):
        return self.encoder((image - self.mean) * self.factor)


LAYER_NORMS = {"sub": 3, "pow": 2, "sqrt": 2, "real_div": 2}  # those of the neck, and the subtraction of the mean
KNOWN = {  # at 1024 px: operations by type, peak and written MB
    "repvit_m0_9": (
        {"conv": 105, "add": 28, "gelu": 27, "reduce_mean": 14, "mul": 11, "relu": 10, "sigmoid": 10, "cast": 1} | LAYER_NORMS,
        31.5,
        557,
        "gelu -> fp16 (1, 96, 256, 256)",
    ),
    "repvit_m2_3": (
        {"conv": 217, "add": 56, "gelu": 55, "reduce_mean": 28, "mul": 25, "relu": 24, "sigmoid": 24, "cast": 1} | LAYER_NORMS,
        52.4,
        1770,
        "gelu -> fp16 (1, 160, 256, 256)",
    ),
    "tiny_vit": (
        {"transpose": 86, "reshape": 80, "linear": 40, "conv": 29, "add": 24, "gelu": 23, "layer_norm": 20, "matmul": 20}
        | {"slice_by_index": 20, "mul": 11, "pad": 10, "split": 10, "softmax": 10, "reduce_mean": 4, "cast": 1}
        | LAYER_NORMS,
        75.5,
        1677,
        "gelu -> fp16 (1, 256, 256, 256)",  # after a convolution, not in attention
    ),
}


@pytest.mark.slow  # 15 s to 80 s each
@pytest.mark.parametrize("name", KNOWN)
def test_known_models_have_their_known_counts_and_bytes(name, tmp_path):
    pytest.importorskip("coremltools", reason="makes the package")
    from encoders.export.device_lint.convert import lint_model, lint_package
    from encoders.export.formats.coreml_convert import convert, need_coremltools, save

    ct = need_coremltools()
    torch.manual_seed(0)
    sam = fresh_sam(name, image_size=1024)
    randomize_batchnorm(sam)  # other tensors stay zero, and additions of zeros are folded away
    image = ct.ImageType(name="image", shape=(1, 3, 1024, 1024))
    module, example = Normalised(fuse(sam).image_encoder).eval(), (torch.zeros(1, 3, 1024, 1024),)
    save(
        convert(module, example, inputs=[image], outputs=[ct.TensorType(name="y")], half=True, target="iOS17"),
        tmp_path / "Known.mlpackage",
    )
    report = lint_package(tmp_path / "Known.mlpackage")
    operations, peak, written, peak_at = KNOWN[name]
    assert report.operations == operations
    assert (round(report.peak_bytes / 1e6, 1), round(report.written_bytes / 1e6), report.peak_at) == (peak, written, peak_at)

    exported = lint_model(untrained_subject(name, image_size=1024), name=name)
    padding = {"abs": 1, "reduce_sum": 1, "clip": 1, "mul": 1, "add": 1}
    biases = {"add": 12 if name == "tiny_vit" else 2}  # no longer zero: two in the neck, ten in attention
    half_norms = {"abs": 2, "clip": 2, "inverse": 2, "mul": 6, "real_div": 2, "reduce_max": 2}  # in place of two squares
    expected = Counter(operations) + Counter(padding) + Counter(biases) + Counter(half_norms) - Counter({"pow": 2})
    assert Counter(exported.operations) == expected
    assert exported.peak_bytes == report.peak_bytes
