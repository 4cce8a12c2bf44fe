"""Types and values of the protobuf messages as ours."""

from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.export.mil.blobs import decode, find_blob
from encoders.export.mil.dtypes import NUMPY, PROTO_NAMES
from encoders.export.mil.program import Constant, TensorType

MODEL_PATH = "@model_path/"  # stands for the specification's folder in names of weights files


def read_type(message: Any) -> TensorType:
    """A `ValueType`: a tensor's, or a list's as that of a vector.

    Raises:
        InputError: it is a state, a tuple or a dictionary, or an element type that is not known here.
    """
    kind = message.WhichOneof("type")
    if kind == "listType":
        inner = read_type(message.listType.type)
        return TensorType(inner.dtype, (_size(message.listType.length), *inner.shape))
    if kind == "dictionaryType":
        return TensorType("dictionary")
    if kind != "tensorType":
        raise InputError(f"a value of the program is of kind {kind}; expected a tensor")
    tensor = message.tensorType
    numbers = type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number
    name = numbers[tensor.dataType].name if tensor.dataType in numbers else str(tensor.dataType)
    if name not in PROTO_NAMES:
        raise InputError(f"a value of the program has elements of type {name}; expected one of {', '.join(PROTO_NAMES)}")
    return TensorType(PROTO_NAMES[name], tuple(_size(dimension) for dimension in tensor.dimensions))


def _size(dimension: Any) -> int | None:
    return int(dimension.constant.size) if dimension.WhichOneof("dimension") == "constant" else None


def read_value(message: Any, *, weights: Path) -> Constant:
    """A `Value`.

    Args:
        weights: the folder of the specification.

    Raises:
        InputError: it is damaged, or of a kind that is not known here.
    """
    kind = read_type(message.type)
    if message.WhichOneof("value") == "blobFileValue":
        name = message.blobFileValue.fileName
        if not name.startswith(MODEL_PATH) or ".." in Path(name).parts:
            raise InputError(f"the program keeps weights in {name!r}, outside its package; expected {MODEL_PATH}…")
        path = weights / name.removeprefix(MODEL_PATH)
        return Constant(kind, find_blob(path, message.blobFileValue.offset, dtype=kind.dtype, elements=kind.elements))
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
    if field == "bytes":
        array = decode(values, dtype=kind.dtype, elements=kind.elements)
    else:
        array = np.asarray(list(values), NUMPY.get(kind.dtype, np.dtype(np.int64)))
    if array.size != kind.elements:
        raise InputError(f"a constant has {array.size} elements where {kind} has {kind.elements}; write the package again")
    return array.reshape([0 if size is None else size for size in kind.shape])
