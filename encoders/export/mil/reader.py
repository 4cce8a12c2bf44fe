"""Read a Core ML package from disk.

Source: coremltools, `mlmodel/format/Model.proto` and `mlmodel/format/MIL.proto`, whose generated classes parse the container.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from encoders.errors import InputError, MissingExtra
from encoders.export.mil.block import read_block
from encoders.export.mil.guards import input_errors, stays_inside
from encoders.export.mil.program import Program, ProgramInput, Variable
from encoders.export.mil.values import read_type
from encoders.files import read_bounded
from encoders.untrusted import read_json

MANIFEST = "Manifest.json"
DATA = "Data"
MAX_MANIFEST_BYTES = 1 << 20
MAX_MODEL_BYTES = 1 << 28  # weights are in a separate file; the largest specification in our tests has 0.4 MB


def read_package(path: Path | str) -> Program:
    """Return the program of a saved `.mlpackage`. Its weights are located and checked, but not read yet.

    Raises:
        InputError: there is no package, it is damaged, or it holds something other than one plain ML program.
        MissingExtra: coremltools is not installed.
    """
    root = Path(path)
    with input_errors(str(root)):
        return read_program(find_model(root), name=str(root))


def read_program(model: Path, *, name: str) -> Program:
    """Return the program of a specification.

    Args:
        name: how error messages refer to it.

    Raises:
        InputError: the specification is damaged, or holds something other than one plain ML program.
        MissingExtra: coremltools is not installed.
    """
    spec = parse(model)
    if spec.WhichOneof("Type") != "mlProgram":
        raise InputError(f"{name} holds a Core ML model of type {spec.WhichOneof('Type')}; expected an ML program")
    functions = spec.mlProgram.functions
    if len(functions) != 1:
        raise InputError(f"{name} holds {len(functions)} functions ({', '.join(functions)}); expected one")
    (function,) = functions.values()
    if function.opset not in function.block_specializations:
        raise InputError(f"{name} has no program for its own operation set {function.opset!r}; export the model again")
    block = function.block_specializations[function.opset]
    inputs = tuple(read_input(entry, spec.description) for entry in function.inputs)
    operations, constants = read_block(block, inputs=[entry.name for entry in inputs], weights=model.parent)
    return Program(
        opset=function.opset,
        inputs=inputs,
        outputs=tuple(block.outputs),
        operations=tuple(operations),
        constants=constants,
        metadata=dict(spec.description.metadata.userDefined),
        name=name,
    )


def find_model(root: Path) -> Path:
    """Return the path of the specification that the manifest of a package names.

    Raises:
        InputError: `root` is not a package, the package is incomplete, or the manifest names a file outside of it.
    """
    if not root.is_dir():
        raise InputError(f"{root} does not exist or is not a folder; expected a Core ML package (.mlpackage)")
    try:
        manifest = read_json(root / MANIFEST, max_bytes=MAX_MANIFEST_BYTES)
        name = str(manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"])
    except (InputError, KeyError, TypeError) as error:
        raise InputError(
            f"{root} is not a Core ML package: its {MANIFEST} is missing or damaged ({error}); copy the whole package or "
            "export the model again"
        ) from error
    if not stays_inside(name):
        raise InputError(f"{root / MANIFEST} names the model {name!r}, outside its package; export the model again")
    model = root / DATA / name
    if not model.exists():
        raise InputError(f"{root} lacks {DATA}/{name}, which its {MANIFEST} names; copy the whole package or export it again")
    return model


def parse(model: Path) -> Any:
    """Return the specification as an instance of coremltools' protobuf class.

    Raises:
        InputError: the file is damaged, too large, or not a regular file.
        MissingExtra: coremltools is not installed.
    """
    with quiet_coremltools():
        try:
            from coremltools.proto import Model_pb2
        except ImportError as error:
            raise MissingExtra("coremltools", extra="coreml") from error
    from google.protobuf.message import DecodeError

    spec = Model_pb2.Model()
    content = read_bounded(model, max_bytes=MAX_MODEL_BYTES, name=str(model))
    try:
        spec.ParseFromString(content)
    except DecodeError as error:
        raise InputError(f"{model} is damaged ({error}); copy the whole package or export the model again") from error
    return spec


@contextmanager
def quiet_coremltools() -> Iterator[None]:
    """Suppress the warnings that importing coremltools logs when its native parts are missing, as on Linux."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def read_input(entry: Any, description: Any) -> ProgramInput:
    """Return an input of the program, with the kind, colours and shapes that the model's description adds.

    Raises:
        InputError: the description lacks the input, or the input is neither an image nor a multi-array.
    """
    variable = Variable(entry.name, read_type(entry.type))
    feature = next((one.type for one in description.input if one.name == entry.name), None)
    if feature is None:
        raise InputError(f"the model's description lacks the program's input {entry.name!r}; export the model again")
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
