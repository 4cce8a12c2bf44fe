"""The conditions of the rules. Each function returns whether its rule names an operation of a graph."""

from encoders.export.device_lint.graph import Graph
from encoders.export.mil.program import Operation

ALIGNMENT_BYTES = 64
SUPPORTED = ("fp16", "int8", "int16")
EQUAL_STRIDES = (1, 2, 4, 6, 8, 9, 12, 16, 24, 32)
BESIDE_STRIDE_2 = (1, 2, 3, 4, 8, 9)
POOLS = ("avg_pool", "max_pool", "l2_pool")
RESIZES = ("upsample_bilinear", "upsample_nearest_neighbor", "resize_bilinear", "resize_nearest_neighbor")
LARGE_KERNEL = 9
MAX_RANK = 5


def rank_above_5(operation: Operation, graph: Graph) -> bool:
    """A result has more than five axes."""
    return any(len(variable.type.shape) > MAX_RANK for variable in operation.outputs)


def palette_rank(operation: Operation, graph: Graph) -> bool:
    """The weights come from a look-up table of more than five axes and are scaled afterwards."""
    scaled = graph.producer(operation, "weight")
    if scaled is None or scaled.type != "constexpr_blockwise_shift_scale":
        return False
    looked_up = graph.producer(scaled, "data")
    table = graph.type_of(looked_up, "lut") if looked_up is not None else None
    return table is not None and len(table.shape) > MAX_RANK


def float32(operation: Operation, graph: Graph) -> bool:
    """A result is fp32."""
    return any(variable.type.dtype == "fp32" for variable in operation.outputs)


def other_types(operation: Operation, graph: Graph) -> bool:
    """A result is neither fp32 nor of a supported type."""
    return any(variable.type.dtype not in (*SUPPORTED, "fp32") for variable in operation.outputs)


def dynamic_shape(operation: Operation, graph: Graph) -> bool:
    """A result has a size that is known only at run time, in a program without enumerated shapes."""
    return not graph.enumerated and any(not variable.type.static for variable in operation.outputs)


def dynamic_operation(operation: Operation, graph: Graph) -> bool:
    """The operation computes a shape, or takes one that is not constant."""
    return operation.type == "shape" or (operation.type in ("reshape", "fill") and not graph.constant(operation, "shape"))


def gather(operation: Operation, graph: Graph) -> bool:
    """The operation is any kind of gather."""
    return operation.type.startswith("gather")


def recurrent(operation: Operation, graph: Graph) -> bool:
    """The operation is an LSTM, GRU or RNN."""
    return operation.type in ("lstm", "gru", "rnn")


def dilated(operation: Operation, graph: Graph) -> bool:
    """A convolution has a dilation above 1."""
    return operation.type in ("conv", "conv_transpose") and max(graph.ints(operation, "dilations", [1])) > 1


def strongly_dilated(operation: Operation, graph: Graph) -> bool:
    """A convolution has a dilation above 3."""
    return operation.type in ("conv", "conv_transpose") and max(graph.ints(operation, "dilations", [1])) > 3


def large_pool(operation: Operation, graph: Graph) -> bool:
    """A pooling has a kernel above 13 or a stride above 2."""
    if operation.type not in POOLS:
        return False
    return max(graph.ints(operation, "kernel_sizes", [1])) > 13 or max(graph.ints(operation, "strides", [1])) > 2


def pool_stride(operation: Operation, graph: Graph) -> bool:
    """A pooling has a stride other than 1, 2 and 4."""
    return operation.type in POOLS and any(stride not in (1, 2, 4) for stride in graph.ints(operation, "strides", [1]))


def large_upsampling(operation: Operation, graph: Graph) -> bool:
    """Height or width grows by more than a factor of 2."""
    before = graph.type_of(operation) if operation.type in RESIZES else None
    if before is None:
        return False
    sizes = zip(before.shape[-2:], operation.outputs[0].type.shape[-2:], strict=True)
    return any(old is not None and new is not None and new > 2 * old for old, new in sizes)


def channel_broadcast(operation: Operation, graph: Graph) -> bool:
    """The operation multiplies C x H x W by C x 1 x 1, neither of them constant."""
    if operation.type != "mul" or any(graph.constant(operation, name) for name in ("x", "y")):
        return False
    x, y = graph.type_of(operation, "x"), graph.type_of(operation, "y")
    if x is None or y is None or len(x.shape) != 4 or len(y.shape) != 4:
        return False
    return (x.shape[2:] == (1, 1)) != (y.shape[2:] == (1, 1)) and x.shape[1] == y.shape[1] != 1


def linear(operation: Operation, graph: Graph) -> bool:
    """The operation is a linear layer: `linear`, or `matmul` with a constant matrix."""
    return operation.type == "linear" or (operation.type == "matmul" and any(graph.constant(operation, n) for n in "xy"))


def split_layer_norm(operation: Operation, graph: Graph) -> bool:
    """The operation is the final division of a normalisation that is written as mean, difference, square and square root."""
    if operation.type not in ("real_div", "mul"):
        return False
    made_by = [graph.producers[name] for name in operation.arguments if name in graph.producers]
    rooted = any(one.type in ("sqrt", "rsqrt") for one in made_by)
    return rooted and any(one.type == "sub" and _mean(graph, one) for one in made_by)


def _mean(graph: Graph, operation: Operation) -> bool:
    producer = graph.producer(operation, "y")
    return producer is not None and producer.type == "reduce_mean"


def softmax_over_space(operation: Operation, graph: Graph) -> bool:
    """A softmax of a tensor of at least four axes runs over another axis than the second, the channels."""
    shape = graph.type_of(operation)
    if operation.type != "softmax" or shape is None or len(shape.shape) < 4:
        return False
    return graph.ints(operation, "axis", [-1])[0] % len(shape.shape) != 1


def conv_stride(operation: Operation, graph: Graph) -> bool:
    """A convolution has strides other than those that the source lists."""
    strides = graph.ints(operation, "strides", [1]) if operation.type == "conv" else [1]
    if len(set(strides)) == 1:
        return strides[0] not in EQUAL_STRIDES
    return 2 not in strides or any(stride not in BESIDE_STRIDE_2 for stride in strides)


def palette_stride(operation: Operation, graph: Graph) -> bool:
    """A convolution with weights from a look-up table has a stride above 2."""
    producer = graph.producer(operation, "weight") if operation.type == "conv" else None
    packed = producer is not None and producer.type.startswith("constexpr_lut")
    return packed and max(graph.ints(operation, "strides", [1])) > 2


def large_kernel(operation: Operation, graph: Graph) -> bool:
    """A convolution kernel is 9 or larger along an axis."""
    weight = graph.type_of(operation, "weight") if operation.type in ("conv", "conv_transpose") else None
    return weight is not None and any((size or 0) >= LARGE_KERNEL for size in weight.shape[2:])


def singleton_last_axis(operation: Operation, graph: Graph) -> bool:
    """A result has a last axis of size 1."""
    return any(variable.type.shape and variable.type.shape[-1] == 1 for variable in operation.outputs)


def misaligned(shape: tuple[int | None, ...], dtype: str) -> bool:
    """Return whether the last axis has more than one element and is not a multiple of 64 bytes."""
    width = {"fp16": 2, "int16": 2, "int8": 1, "uint8": 1, "fp32": 4, "int32": 4}.get(dtype, 0)
    last = shape[-1] if shape else None
    return last is not None and last > 1 and (last * width) % ALIGNMENT_BYTES != 0


def misaligned_last_axis(operation: Operation, graph: Graph) -> bool:
    """A result that is not an output of the program has a last axis that is not a multiple of 64 bytes."""
    return any(
        misaligned(variable.type.shape, variable.type.dtype)
        for variable in operation.outputs
        if variable.name not in graph.program.outputs
    )


def misaligned_interface(operation: Operation, graph: Graph) -> bool:
    """The operation reads an input array or writes an output whose last axis is not a multiple of 64 bytes."""
    read = graph.inputs.keys() & operation.arguments
    arrays = [graph.inputs[name].type for name in read if graph.inputs[name].kind == "array"]
    arrays += [variable.type for variable in operation.outputs if variable.name in graph.program.outputs]
    return any(misaligned(one.shape, one.dtype) or bool(one.shape and one.shape[-1] == 1) for one in arrays)


def moves_last_axis(operation: Operation, graph: Graph) -> bool:
    """A transpose or reshape changes the last axis."""
    before = graph.type_of(operation)
    if before is None or not before.shape:
        return False
    if operation.type == "transpose":
        return graph.ints(operation, "perm", [-1])[-1] % len(before.shape) != len(before.shape) - 1
    return operation.type == "reshape" and before.shape[-1:] != operation.outputs[0].type.shape[-1:]
