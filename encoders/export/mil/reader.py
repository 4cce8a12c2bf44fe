"""From a package on disk to a `Program`.

Source: coremltools, `mlmodel/format/Model.proto` and `mlmodel/format/MIL.proto`, whose generated classes parse the container.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from encoders.errors import InputError, MissingExtra
from encoders.export.mil.program import Constant, Operation, Program, ProgramInput, Variable
from encoders.export.mil.values import read_type, read_value

MANIFEST = "Manifest.json"
DATA = "Data"


def read_package(path: Path | str) -> Program:
    """The program of a saved `.mlpackage`, its weights located and checked but not yet read.

    Raises:
        InputError: no package is there, it is damaged, or it holds something else than one plain ML program.
        MissingExtra: coremltools is not installed.
    """
    root = Path(path)
    model = find_model(root)
    spec = parse(model)
    if spec.WhichOneof("Type") != "mlProgram":
        raise InputError(f"{root} holds a Core ML model of type {spec.WhichOneof('Type')}; expected an ML program")
    functions = spec.mlProgram.functions
    if len(functions) != 1:
        raise InputError(f"{root} holds {len(functions)} functions ({', '.join(functions)}); expected one")
    (function,) = functions.values()
    block = function.block_specializations.get(function.opset) if function.opset in function.block_specializations else None
    if block is None:
        raise InputError(f"{root} has no program for its own operation set {function.opset!r}; write the package again")
    operations, constants = read_block(block, weights=model.parent)
    return Program(
        opset=function.opset,
        inputs=tuple(read_input(entry, spec.description) for entry in function.inputs),
        outputs=tuple(block.outputs),
        operations=tuple(operations),
        constants=constants,
        metadata=dict(spec.description.metadata.userDefined),
    )


def find_model(root: Path) -> Path:
    """The specification inside a package, as its manifest names it.

    Raises:
        InputError: it is no package, or incomplete.
    """
    if not root.is_dir():
        raise InputError(f"{root} does not exist or is no folder; expected a Core ML package (.mlpackage)")
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        model = root / DATA / manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{root} is no Core ML package: its {MANIFEST} is missing or damaged ({error})") from error
    if not model.is_file():
        raise InputError(f"{root} lacks {model.relative_to(root)}, which its {MANIFEST} names; copy the package again")
    return model


def parse(model: Path) -> Any:
    """The specification as coremltools' protobuf class.

    Raises:
        InputError: the file is damaged.
        MissingExtra: coremltools is not installed.
    """
    with quiet_coremltools():
        try:
            from coremltools.proto import Model_pb2
        except ImportError as error:
            raise MissingExtra("coremltools", extra="coreml") from error
    from google.protobuf.message import DecodeError

    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(model.read_bytes())
    except DecodeError as error:
        raise InputError(f"{model} is damaged ({error}); copy or write the package again") from error
    return spec


@contextmanager
def quiet_coremltools() -> Iterator[None]:
    """Without the warnings of coremltools' import, that its native parts are not on this system."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def read_input(entry: Any, description: Any) -> ProgramInput:
    """An input of the program with what the model's description adds to it."""
    variable = Variable(entry.name, read_type(entry.type))
    feature = next((one.type for one in description.input if one.name == entry.name), None)
    if feature is None:
        raise InputError(f"the program's input {entry.name!r} is not in the model's description; write the package again")
    kind = feature.WhichOneof("Type")
    if kind == "imageType":
        colours = type(feature.imageType).DESCRIPTOR.enum_types_by_name["ColorSpace"].values_by_number
        sizes = [(int(size.height), int(size.width)) for size in feature.imageType.enumeratedSizes.sizes]
        leading = tuple(size or 1 for size in variable.type.shape[:-2])
        return ProgramInput(
            variable.name,
            variable.type,
            kind="image",
            colours=colours[feature.imageType.colorSpace].name,
            shapes=tuple(leading + size for size in sizes),
        )
    if kind == "multiArrayType":
        shapes = tuple(tuple(int(size) for size in one.shape) for one in feature.multiArrayType.enumeratedShapes.shapes)
        return ProgramInput(variable.name, variable.type, shapes=shapes)
    raise InputError(f"the input {entry.name!r} is of kind {kind}; expected an image or a multi-array")


def read_block(block: Any, *, weights: Path) -> tuple[list[Operation], dict[str, Constant]]:
    """Operations in order, and constants by name: those of `const` operations and those that stand inside an operation."""
    operations: list[Operation] = []
    constants: dict[str, Constant] = {}
    for entry in block.operations:
        outputs = tuple(Variable(output.name, read_type(output.type)) for output in entry.outputs)
        if entry.type == "const":
            constants[outputs[0].name] = read_value(entry.attributes["val"], weights=weights)
            continue
        if entry.blocks:
            raise InputError(f"the operation {entry.type} holds a branch or a loop, which cannot be read here")
        name = _text(entry.attributes["name"]) if "name" in entry.attributes else outputs[0].name
        inputs: dict[str, tuple[str, ...]] = {}
        inline = {key: value for key, value in entry.attributes.items() if key != "name"}
        for parameter, argument in entry.inputs.items():
            names = []
            for index, binding in enumerate(argument.arguments):
                if binding.WhichOneof("binding") == "name":
                    names.append(binding.name)
                else:
                    names.append(f"{outputs[0].name}.{parameter}.{index}")  # a dot is in no name of the program itself
                    constants[names[-1]] = read_value(binding.value, weights=weights)
            inputs[parameter] = tuple(names)
        for parameter, value in inline.items():
            inputs[parameter] = (f"{outputs[0].name}.{parameter}",)
            constants[inputs[parameter][0]] = read_value(value, weights=weights)
        operations.append(Operation(type=entry.type, name=name, inputs=inputs, outputs=outputs))
    return operations, constants


def _text(value: Any) -> str:
    texts = value.immediateValue.tensor.strings.values
    return str(texts[0]) if texts else ""
