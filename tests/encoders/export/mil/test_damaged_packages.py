"""Damaged and hostile packages: whatever is wrong with one, the error is an InputError that names it."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from encoders.errors import InputError
from encoders.export.device_lint import lint_program
from encoders.export.mil import Interpreter, read_package, reader

pytest.importorskip("coremltools", reason="makes the packages")
FLIPS = 400
MODEL = "com.apple.CoreML/model.mlmodel"


class Small(nn.Module):
    """Reshapes, pads, splits and joins, so that the program has many kinds of parameters; the axes have different sizes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, (3, 5), padding=(1, 2))

    def forward(self, image):
        x = nn.functional.avg_pool2d(nn.functional.pad(self.conv(image), (1, 2, 0, 1)), 3, 2)
        a, b = x.reshape(1, 2, 4, -1).transpose(1, 2).split(2, dim=1)
        return torch.softmax(x.mean((2, 3)), -1), torch.cat([a, b[:, :, 1:]], 2)


@pytest.fixture(scope="module")
def package(save_package):
    return save_package(Small(), torch.zeros(1, 3, 6, 9), half=True)


@pytest.fixture
def copied(package, tmp_path):
    return shutil.copytree(package, tmp_path / "Copy.mlpackage")


@pytest.fixture
def changed(copied):
    """Apply a function to the program's block and return the path of the package."""
    from coremltools.proto import Model_pb2

    def change(edit):
        path = copied / "Data" / MODEL
        spec = Model_pb2.Model()
        spec.ParseFromString(path.read_bytes())
        (function,) = spec.mlProgram.functions.values()
        edit(function.block_specializations[function.opset])
        path.write_bytes(spec.SerializeToString())
        return copied

    return change


def first(block, kind):
    return next(operation for operation in block.operations if operation.type == kind)


def rename_argument(block, name="elsewhere"):
    first(block, "avg_pool").inputs["x"].arguments[0].name = name


def define_twice(block):
    first(block, "avg_pool").outputs[0].name = first(block, "conv").outputs[0].name


def drop_outputs(block):
    del first(block, "conv").outputs[:]


def drop_value(block):
    del first(block, "const").attributes["val"]


def bytes_constant(block):
    constants = (operation.attributes["val"] for operation in block.operations if operation.type == "const")
    return next(
        one.immediateValue.tensor.bytes for one in constants if one.immediateValue.tensor.WhichOneof("value") == "bytes"
    )


def shorten_bytes(block):
    found = bytes_constant(block)
    found.values = found.values[:-1]


def lengthen_bytes(block):
    found = bytes_constant(block)
    found.values = found.values + b"\0\0"


def forget_size(block):
    for operation in block.operations:
        if operation.type == "const" and operation.attributes["val"].type.tensorType.dimensions:
            operation.attributes["val"].type.tensorType.dimensions[0].ClearField("constant")
            return


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (rename_argument, "the operation avg_pool named .* uses 'elsewhere', which nothing before it defines"),
        (
            lambda block: rename_argument(block, block.outputs[0]),
            "the operation avg_pool named .*, which nothing before it defines",
        ),
        (lambda block: block.outputs.append("elsewhere"), "no operation computes the program's output 'elsewhere'"),
        (define_twice, "the program defines .* twice"),
        (drop_outputs, "an operation conv has no output"),
        (drop_value, "the constant .* has no value"),
        (shorten_bytes, "a constant has .* bytes where"),
        (lengthen_bytes, "a constant has .* bytes where"),
        (forget_size, "a constant is declared as .*, with an unknown size"),
    ],
)
def test_a_program_that_contradicts_itself_is_an_input_error(changed, edit, says):
    path = changed(edit)
    with pytest.raises(InputError, match=rf"^{path}: {says}.*; export the model again$"):
        read_package(path)


def test_flipped_bits_in_the_specification_are_input_errors_or_harmless(copied):
    path = copied / "Data" / MODEL
    content = path.read_bytes()
    image = np.random.default_rng(0).standard_normal((1, 3, 6, 9)).astype(np.float32)
    generator = random.Random(0)
    outcomes = {"works": 0, "InputError": 0}
    for _ in range(FLIPS):
        damaged = bytearray(content)
        damaged[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        for use in (
            lambda program: lint_program(program, name="it"),
            lambda program: Interpreter(program).predict({"in0": image}),
        ):
            try:
                use(read_package(copied))
                outcomes["works"] += 1
            except InputError as error:
                assert str(copied) in str(error) and len(str(error)) < 1000
                outcomes["InputError"] += 1
    assert min(outcomes.values()) > FLIPS // 4  # both happen


@pytest.mark.parametrize("name", ["{elsewhere}", "../../outside.mlmodel", "com.apple.CoreML/../../../outside.mlmodel"])
def test_a_manifest_may_not_lead_out_of_its_package(copied, tmp_path, name):
    outside = tmp_path / "outside.mlmodel"
    shutil.copy(copied / "Data" / MODEL, outside)
    manifest = json.loads((copied / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = name.format(elsewhere=outside)
    (copied / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"Manifest\.json names the model .*, outside its package"):
        read_package(copied)


@pytest.mark.parametrize(("name", "limit"), [("Manifest.json", "MAX_MANIFEST_BYTES"), (f"Data/{MODEL}", "MAX_MODEL_BYTES")])
def test_manifest_and_specification_are_read_up_to_a_limit_and_never_waited_for(copied, monkeypatch, name, limit):
    path = copied / name
    with monkeypatch.context() as patched:
        patched.setattr(reader, limit, path.stat().st_size - 1)
        with pytest.raises(InputError, match=rf"{path.name} has {path.stat().st_size} bytes; at most"):
            read_package(copied)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=rf"{path.name} is a pipe; expected a file"):
        read_package(copied)


def test_an_unreadable_weights_file_is_an_input_error(copied, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("encoders.export.mil.values.find_blob", refuse)  # root may read every file
    with pytest.raises(InputError, match=rf"{copied} cannot be read \(Permission denied\)"):
        read_package(copied)
