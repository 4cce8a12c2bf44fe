"""Operations against coremltools' constant folding, an independent implementation in numpy."""

import numpy as np
import pytest

ct = pytest.importorskip("coremltools", reason="is the reference")

X = np.random.default_rng(1).standard_normal((2, 3, 4, 5)).astype(np.float32)
ABOVE_0 = np.abs(X) + 0.1
Y = np.random.default_rng(2).standard_normal((3, 1, 5)).astype(np.float32)
INTS = np.arange(-6, 6, dtype=np.int32).reshape(3, 4)

UNARY = [
    "abs", "ceil", "cos", "cosh", "erf", "exp", "exp2", "floor", "sign", "sin", "sinh", "square", "tanh", "relu", "sigmoid",
    "softplus", "atan", "tan",
]  # fmt: skip
BINARY = ["add", "sub", "mul", "real_div", "maximum", "minimum", "greater", "less_equal", "not_equal", "mod", "floor_div"]
CASES = [
    *((name, {"x": X}) for name in UNARY),
    ("sqrt", {"x": ABOVE_0}),
    ("rsqrt", {"x": ABOVE_0, "epsilon": np.float32(0.3)}),
    ("log", {"x": ABOVE_0, "epsilon": np.float32(0.5)}),
    ("inverse", {"x": ABOVE_0, "epsilon": np.float32(0.25)}),
    ("clip", {"x": X, "alpha": np.float32(-0.5), "beta": np.float32(0.7)}),
    ("threshold", {"x": X, "alpha": np.float32(0.2)}),
    ("leaky_relu", {"x": X, "alpha": np.float32(0.1)}),
    ("elu", {"x": X, "alpha": np.float32(0.7)}),
    ("clamped_relu", {"x": X, "alpha": np.float32(0.3), "beta": np.float32(0.9)}),
    ("sigmoid_hard", {"x": X, "alpha": np.float32(0.4), "beta": np.float32(0.3)}),
    ("gelu", {"x": X, "mode": "EXACT"}),
    ("gelu", {"x": X, "mode": "TANH_APPROXIMATION"}),
    ("gelu", {"x": X, "mode": "SIGMOID_APPROXIMATION"}),
    ("softmax", {"x": X, "axis": 1}),
    *((name, {"x": X, "y": Y}) for name in BINARY),
    ("pow", {"x": ABOVE_0, "y": Y}),
    ("logical_xor", {"x": X > 0, "y": Y > 0}),
    ("select", {"cond": X > 0, "a": X, "b": -2 * X}),
    ("reduce_mean", {"x": X, "axes": [1, -1], "keep_dims": True}),
    ("reduce_sum", {"x": X, "axes": [0, 2], "keep_dims": False}),
    ("reduce_max", {"x": X, "axes": [-2], "keep_dims": False}),
    ("reduce_l2_norm", {"x": X, "axes": [3], "keep_dims": True}),
    ("reduce_log_sum_exp", {"x": X, "axes": [1], "keep_dims": True}),
    ("reduce_argmax", {"x": X, "axis": 2, "keep_dims": False}),
    ("cumsum", {"x": X, "axis": 2, "exclusive": False, "reverse": True}),
    ("layer_norm", {"x": X, "axes": [1, 3], "gamma": X[0, :, 0, :], "beta": X[1, :, 1, :], "epsilon": np.float32(0.2)}),
    ("l2_norm", {"x": X, "epsilon": np.float32(0.3)}),
    ("matmul", {"x": X, "y": X, "transpose_x": True, "transpose_y": False}),
    ("matmul", {"x": X, "y": X, "transpose_x": False, "transpose_y": True}),
    ("linear", {"x": X[0], "weight": Y[0].repeat(2, 0) * X[0, 0, :2], "bias": np.asarray([0.5, -1], np.float32)}),
    ("reshape", {"x": X, "shape": [0, 0, -1]}),
    ("reshape", {"x": X, "shape": [4, -1, 5]}),
    ("transpose", {"x": X, "perm": [2, 0, 3, 1]}),
    ("expand_dims", {"x": X, "axes": [0, -1]}),
    ("squeeze", {"x": Y, "axes": [1]}),
    ("concat", {"values": [X, X[:, :1]], "axis": 1}),
    ("stack", {"values": [X, -X], "axis": 2}),
    ("split", {"x": X, "axis": -1, "split_sizes": [1, 3, 1]}),
    ("split", {"x": X, "axis": 2, "num_splits": 2}),
    ("tile", {"x": Y, "reps": [2, 3, 1]}),
    ("reverse", {"x": X, "axes": [1, 3]}),
    ("slice_by_index", {"x": X, "begin": [0, 1, -3, 4], "end": [2, 3, -1, 0], "stride": [1, 1, 1, -2]}),
    (
        "slice_by_index",
        {
            "x": X,
            "begin": [1, 2, 1, 1],
            "end": [0, 0, 3, 2],
            "stride": [1, 1, 2, 1],
            "begin_mask": [False, True, False, False],
            "end_mask": [False, True, True, True],
            "squeeze_mask": [True, False, False, False],
        },
    ),
    ("slice_by_size", {"x": X, "begin": [0, 1, 2, -4], "size": [1, -1, 2, 3]}),
    ("gather", {"x": X, "indices": np.asarray([[2, 0], [1, 1]], np.int32), "axis": 1}),
    ("gather_along_axis", {"x": INTS, "indices": np.asarray([[2, 0, 1, 1]], np.int32), "axis": 0}),
    ("range_1d", {"start": np.int32(3), "end": np.int32(12), "step": np.int32(4)}),
    ("fill", {"shape": [2, 3], "value": np.float32(1.25)}),
    ("cast", {"x": 2 * X, "dtype": "int32"}),
    ("round", {"x": 3 * X}),
]


def folded(kind, parameters):
    """Return the results that coremltools folds the operation on constants to."""
    from coremltools.converters.mil import Builder as mb

    found = []

    @mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=ct.target.iOS17)
    def _program(x):
        result = getattr(mb, kind)(**parameters)
        found.extend(result if isinstance(result, (list, tuple)) else [result])
        return x

    return [np.asarray(one.val) for one in found]


@pytest.mark.parametrize(("kind", "parameters"), CASES, ids=[f"{place} {kind}" for place, (kind, _) in enumerate(CASES)])
def test_an_operation_agrees_with_coremltools_constant_folding(kind, parameters, compute):
    want = folded(kind, parameters)
    declared = {"b": "bool", "i": "int32", "f": "fp32"}[want[0].dtype.kind]
    got = compute(kind, declared=declared, each=[one.shape for one in want], **parameters)
    assert len(got) == len(want) and want[0].size
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)
