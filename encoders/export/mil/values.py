"""Convert types and values from protobuf messages."""

from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.export.mil.blobs import decode, find_blob
from encoders.export.mil.dtypes import NUMPY, PROTO_NAMES
from encoders.export.mil.guards import stays_inside
from encoders.export.mil.program import Constant, TensorType

MODEL_PATH = "@model_path/"  # in names of weights files: the folder of the specification


def read_type(message: Any) -> TensorType:
    """Return the type that a `ValueType` message describes; a list has its length as first axis.

    Raises:
        InputError: it is a state or a tuple, or its element type is not supported.
    """
    kind = message.WhichOneof("type")
    if kind == "listType":
        inner = read_type(message.listType.type)
        return TensorType(inner.dtype, (_size(message.listType.length), *inner.shape))
    if kind == "dictionaryType":
        return TensorType("dictionary")
    if kind != "tensorType":
        raise InputError(f"the program has a value of kind {kind}; expected a tensor; export the model again")
    tensor = message.tensorType
    numbers = type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number
    name = numbers[tensor.dataType].name if tensor.dataType in numbers else str(tensor.dataType)
    if name not in PROTO_NAMES:
        raise InputError(
            f"the program has a value of element type {name}; expected one of {', '.join(PROTO_NAMES)}; export the model again"
        )
    return TensorType(PROTO_NAMES[name], tuple(_size(dimension) for dimension in tensor.dimensions))


def _size(dimension: Any) -> int | None:
    return int(dimension.constant.size) if dimension.WhichOneof("dimension") == "constant" else None


def read_value(message: Any, *, weights: Path) -> Constant:
    """Return the constant that a `Value` message holds.

    Args:
        weights: the folder of the specification, in which the weights files are looked up.

    Raises:
        InputError: it is damaged, is of a kind that is not supported, or has its data outside the package.
    """
    kind = read_type(message.type)
    if message.WhichOneof("value") == "blobFileValue":
        name = message.blobFileValue.fileName
        relative = name.removeprefix(MODEL_PATH)
        if not name.startswith(MODEL_PATH) or not stays_inside(relative):
            raise InputError(f"the program has weights in {name!r}, outside its package; expected {MODEL_PATH}…")
        _check_static(kind)
        return Constant(
            kind, find_blob(weights / relative, message.blobFileValue.offset, dtype=kind.dtype, elements=kind.elements)
        )
    value = message.immediateValue
    if value.WhichOneof("value") == "list":
        members = [one.immediateValue.tensor.strings.values for one in value.list.values]
        return Constant(kind, tuple(str(text) for texts in members for text in texts))
    return Constant(kind, _immediate(value.tensor, kind))


def _immediate(tensor: Any, kind: TensorType) -> str | tuple[str, ...] | np.ndarray:
    field = tensor.WhichOneof("value")
    values: Any = getattr(tensor, field).values if field else []
    if kind.dtype == "string":
        texts = tuple(str(text) for text in values)
        return texts if kind.shape else (texts[0] if texts else "")
    _check_static(kind)
    if field == "bytes":
        array = decode(values, dtype=kind.dtype, elements=kind.elements)
    else:
        array = np.asarray(list(values), NUMPY.get(kind.dtype, np.dtype(np.int64)))
    if array.size != kind.elements:
        raise InputError(f"a constant has {array.size} elements where {kind} has {kind.elements}; export the model again")
    return array.reshape(kind.shape)


def _check_static(kind: TensorType) -> None:
    if not kind.static:
        raise InputError(f"a constant is declared as {kind}, with an unknown size; export the model again")
