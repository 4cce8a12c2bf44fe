"""The report of the lint of Core ML programs: bytes computed by hand, what is counted, what is refused."""

import pytest
import torch
from torch import nn

from encoders.errors import InputError
from encoders.export.device_lint import SAYS, lint_program
from encoders.export.device_lint.liveness import activations
from encoders.export.mil import Constant, TensorType
from encoders.export.mil.blobs import Blob
from tests.encoders.export.lint_programs import MAP, program


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
