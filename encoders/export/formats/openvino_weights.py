"""Smaller OpenVINO files: large weights in fp16 or 8 bits, in the form that OpenVINO folds or keeps compressed at compiling."""

from typing import Any

import numpy as np

from encoders.export.formats.stored_weights import stored_as, to_eight_bits

CHANNEL_AXIS = {"Convolution": 0, "ConvolutionBackpropData": 1}  # of output channels in the weight; MatMul's depends


def store_weights(model: Any, *, precision: str) -> None:
    """Store the large weights of an `openvino.Model` in `precision`, "fp16" or "int8", in place.

    Depthwise weights belong to GroupConvolutions and stay unchanged.
    """
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        if kind not in (*CHANNEL_AXIS, "MatMul"):
            continue
        weight = operation.input(1).get_source_output().get_node()
        if weight.get_type_name() != "Constant":
            continue
        array = np.array(weight.data)
        stored = stored_as(array, precision=precision, depthwise=False)
        if stored == "fp32":
            continue
        axis = CHANNEL_AXIS.get(kind)
        if axis is None:
            axis = -2 if operation.get_attributes()["transpose_b"] else -1
        operation.input(1).replace_source_output(_restored(array, stored=stored, channel_axis=axis).output(0))
    model.validate_nodes_and_infer_types()


def _restored(array: np.ndarray, *, stored: str, channel_axis: int) -> Any:
    """Return the node that restores a weight in fp32."""
    from openvino import opset13

    if stored == "fp16":
        return opset13.convert(opset13.constant(array.astype(np.float16)), "f32")
    eight = to_eight_bits(array, channel_axis=channel_axis)
    wide = opset13.convert(opset13.constant(eight.values), "f32")
    centred = opset13.subtract(wide, opset13.constant(eight.zero.astype(np.float32)))
    return opset13.multiply(centred, opset13.constant(eight.scale))
