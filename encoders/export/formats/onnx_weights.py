"""Smaller ONNX files: large weights in fp16 or 8 bits, turned back into fp32 by operations that a runtime folds at loading.

Cast, Sub and Mul are used instead of DequantizeLinear: ONNX Runtime always folds the former, and by default computes the latter
again in every call.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import MissingExtra
from encoders.export.formats.stored_weights import stored_as, to_eight_bits
from encoders.files import atomic_path

CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}  # of output channels in the weight; those of the others depend


def store_weights(path: Path, *, precision: str) -> None:
    """Store a file's large weights in `precision`, "fp16" or "int8", in place.

    Raises:
        MissingExtra: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", extra="onnx") from error
    model = onnx.load(str(path))
    graph = model.graph
    weights = {weight.name: weight for weight in graph.initializer}
    restoring: list[Any] = []
    for name, axis, depthwise in _weights_of(graph, names=set(weights)):
        array = onnx.numpy_helper.to_array(weights[name])
        kind = stored_as(array, precision=precision, depthwise=depthwise)
        if kind == "fp32":
            continue
        parts, nodes = _stored(name, array, kind=kind, channel_axis=axis)
        graph.initializer.remove(weights[name])
        graph.initializer.extend(parts)
        restoring += nodes
    nodes = [*restoring, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))


def _weights_of(graph: Any, *, names: set[str]) -> Iterator[tuple[str, int, bool]]:
    """Yield the weights that operations multiply by: name, axis of output channels, and whether it is depthwise."""
    seen = set()
    for node in graph.node:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        for place, name in enumerate(node.input[:2]):
            if name not in names or name in seen or (place == 0 and node.op_type != "MatMul"):
                continue
            if node.op_type in CHANNEL_AXIS:
                axis = CHANNEL_AXIS[node.op_type]
            elif node.op_type == "Gemm":
                axis = 0 if attributes.get("transB") else 1
            elif node.op_type == "MatMul":
                axis = -1 if place == 1 else -2
            else:
                continue
            seen.add(name)
            yield name, axis, attributes.get("group", 1) > 1


def _stored(name: str, array: np.ndarray, *, kind: str, channel_axis: int) -> tuple[list[Any], list[Any]]:
    """Return the initializers and nodes that restore the weight under its name."""
    from onnx import TensorProto, helper, numpy_helper

    def cast(source: str, target: str) -> Any:
        return helper.make_node("Cast", [source], [target], name=f"{target}.cast", to=TensorProto.FLOAT)

    if kind == "fp16":
        stored = f"{name}.fp16"
        return [numpy_helper.from_array(array.astype(np.float16), stored)], [cast(stored, name)]
    eight = to_eight_bits(array, channel_axis=channel_axis)
    values, zero, scale, wide, centred = (f"{name}.{part}" for part in ("uint8", "zero", "scale", "wide", "centred"))
    parts = [
        numpy_helper.from_array(eight.values, values),
        numpy_helper.from_array(eight.zero.astype(np.float32), zero),
        numpy_helper.from_array(eight.scale, scale),
    ]
    nodes = [
        cast(values, wide),
        helper.make_node("Sub", [wide, zero], [centred], name=f"{name}.sub"),
        helper.make_node("Mul", [centred, scale], [name], name=f"{name}.mul"),
    ]
    return parts, nodes
