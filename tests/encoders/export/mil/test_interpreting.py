"""The interpreter itself: rounding, errors, freeing of values, and operations with cases computed by hand."""

import dataclasses
import warnings

import numpy as np
import pytest

from encoders.errors import InputError, InputWarning
from encoders.export.mil import Interpreter, Operation, Program, ProgramInput, TensorType, Variable
from encoders.export.mil.lifetimes import last_uses


def chain(*operations, inputs, outputs, constants=None):
    return Program(
        opset="CoreML7",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        operations=operations,
        constants=constants or {},
        metadata={},
    )


def step(kind, output, dtype, shape, **inputs):
    return Operation(
        kind, output, {key: (name,) for key, name in inputs.items()}, (Variable(output, TensorType(dtype, shape)),)
    )


@pytest.mark.parametrize(
    ("dtype", "emulate", "wanted"),
    [
        ("fp16", True, [2048, 0.0999755859375, np.inf]),  # 2049 is halfway and rounds to even; 70000 is above 65504
        ("fp16", False, [2049, 0.1, 70000]),
        ("fp32", True, [2049, 0.1, 70000]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*beyond fp16")
def test_results_are_rounded_to_half_precision_if_the_program_declares_it(program_of, dtype, emulate, wanted):
    program = program_of(
        "add",
        outputs=[TensorType(dtype, (3,))],
        x=np.asarray([2048, 0.1, 60000], np.float32),
        y=np.asarray([1, 0, 10000], np.float32),
    )
    found = Interpreter(program, emulate_fp16=emulate).predict({})["result0"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(wanted, np.float32))


def test_an_overflow_in_half_precision_warns_once_and_infinite_inputs_do_not(program_of):
    values = np.asarray([255, 300], np.float32)
    interpreter = Interpreter(program_of("square", outputs=[TensorType("fp16", (2,))], x=values))
    with pytest.warns(InputWarning, match=r"square named 'it' reaches 9e\+04, beyond fp16's largest number 65504"):
        assert interpreter.predict({})["result0"].tolist() == [65024, np.inf]
    assert interpreter.overflowed == {"it": 90000.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interpreter.predict({})
        infinite = np.asarray([1, np.inf], np.float32)  # like an attention mask
        Interpreter(program_of("relu", outputs=[TensorType("fp16", (2,))], x=infinite)).predict({})
        Interpreter(program_of("square", outputs=[TensorType("fp16", (2,))], x=values), emulate_fp16=False).predict({})


def test_an_input_declared_in_half_precision_is_rounded():
    x = ProgramInput("x", TensorType("fp16", (1, 2)))
    program = chain(step("identity", "y", "fp32", (1, 2), x="x"), inputs=[x], outputs=["y"])
    found = Interpreter(program).predict({"x": np.asarray([[2049, 0.1]], np.float32)})["y"]
    assert found.tolist() == [[2048, 0.0999755859375]]


def test_all_unsupported_operations_and_parameters_are_listed_before_anything_runs():
    vector = TensorType("fp32", (2,))
    program = chain(
        step("topk", "a", "fp32", (2,), x="x"),
        step("relu", "b", "fp32", (2,), x="a", slope="x"),
        step("warp", "c", "fp32", (2,), x="b"),
        step("topk", "d", "fp32", (2,), x="c"),
        inputs=[ProgramInput("x", vector)],
        outputs=["d"],
    )
    with pytest.raises(InputError, match=r"cannot be interpreted: topk, relu\(slope\), warp; use Core ML"):
        Interpreter(program)


def test_a_result_of_another_shape_or_type_than_declared_is_an_input_error(program_of):
    for declared in (TensorType("fp32", (2, 3)), TensorType("int32", (3, 2))):
        program = program_of("relu", outputs=[declared], x=np.zeros((3, 2), np.float32))
        with pytest.raises(InputError, match=r"relu named 'it'.*its result is .*\(3, 2\) where the program declares"):
            Interpreter(program).predict({})


def test_an_error_names_the_operation_that_failed(program_of):
    program = program_of(
        "matmul", outputs=[TensorType("fp32", (2, 2))], x=np.zeros((2, 3), np.float32), y=np.zeros((2, 3), np.float32)
    )
    with pytest.raises(InputError, match="matmul named 'it' is damaged or.*RuntimeError.*export the model again"):
        Interpreter(program).predict({})


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "takes x; got none"),
        ({"x": np.zeros((1, 3, 2, 4), np.uint8), "z": np.zeros(1)}, "takes x; got x, z"),
        ({"x": np.zeros((1, 3, 4, 2), np.uint8)}, r"shape \(1, 3, 4, 2\); expected fp32 \(1, 3, 2, 4\)"),
        ({"x": np.zeros((1, 3, 2, 4), np.float32)}, "is float32; expected uint8 pixels"),
    ],
)
def test_missing_unknown_and_misshapen_inputs_are_input_errors(inputs, says):
    x = ProgramInput("x", TensorType("fp32", (1, 3, 2, 4)), kind="image", colours="RGB")
    program = chain(step("relu", "y", "fp32", (1, 3, 2, 4), x="x"), inputs=[x], outputs=["y"])
    with pytest.raises(InputError, match=says):
        Interpreter(program).predict(inputs)


def test_arrays_of_the_wrong_type_and_shapes_that_are_not_listed_are_input_errors():
    x = ProgramInput("x", TensorType("int32", (1, None)), shapes=((1, 2), (1, 4)))
    program = chain(step("identity", "y", "int32", (1, None), x="x"), inputs=[x], outputs=["y"])
    interpreter = Interpreter(program)
    assert interpreter.predict({"x": np.asarray([[3, -1, 2, 0]], np.int32)})["y"].tolist() == [[3, -1, 2, 0]]
    with pytest.raises(InputError, match=r"shape \(1, 3\); expected \(1, 2\) or \(1, 4\)"):
        interpreter.predict({"x": np.zeros((1, 3), np.int32)})
    with pytest.raises(InputError, match="is float32; expected int32"):
        interpreter.predict({"x": np.zeros((1, 2), np.float32)})
    y = ProgramInput("x", TensorType("fp32", (1, 2)))
    with pytest.raises(InputError, match="is object; expected fp32"):
        Interpreter(chain(inputs=[y], outputs=["x"])).predict({"x": np.asarray([[None, 1]])})


def test_channels_are_swapped_for_a_model_that_takes_bgr():
    x = ProgramInput("x", TensorType("fp32", (1, 3, 1, 2)), kind="image", colours="BGR")
    program = chain(step("identity", "y", "fp32", (1, 3, 1, 2), x="x"), inputs=[x], outputs=["y"])
    image = np.asarray([[[[1, 2]], [[3, 4]], [[5, 6]]]], np.uint8)
    assert Interpreter(program).predict({"x": image})["y"].tolist() == [[[[5, 6]], [[3, 4]], [[1, 2]]]]


def test_values_are_freed_after_their_last_use_but_outputs_are_kept():
    vector = TensorType("fp32", (2,))
    program = chain(
        step("relu", "a", "fp32", (2,), x="x"),
        step("abs", "b", "fp32", (2,), x="a"),
        step("add", "c", "fp32", (2,), x="a", y="b"),
        step("sign", "unused", "fp32", (2,), x="c"),
        inputs=[ProgramInput("x", vector)],
        outputs=["b", "c"],
    )
    freed = last_uses(program.computing, keep=program.outputs)
    assert [sorted(names) for names in freed] == [["x"], [], ["a"], ["unused"]]
    found = Interpreter(program).predict({"x": np.asarray([-1, 2], np.float32)})
    assert {name: value.tolist() for name, value in found.items()} == {"b": [0, 2], "c": [0, 4]}


def test_concat_can_interleave(compute):
    one, other = np.asarray([[1, 2], [3, 4], [5, 6]], np.float32), np.asarray([[7, 8], [9, 10], [11, 12]], np.float32)
    got = compute("concat", gives=(6, 2), values=[one, other], axis=0, interleave=True)  # coremltools' own example
    assert got.tolist() == [[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]


def test_concat_takes_scalars_as_vectors(compute):
    got = compute(
        "concat", declared="int32", gives=(3,), values=[np.asarray(4, np.int32), np.asarray([5, 6], np.int32)], axis=0
    )
    assert got.tolist() == [4, 5, 6]


def test_a_zero_in_a_shape_copies_the_size_at_the_same_distance_from_the_end(compute):
    # the example in coremltools' iOS 17 definition
    got = compute("reshape", gives=(1, 1, 2, 50), x=np.zeros((2, 50), np.float32), shape=[1, 0, -1, 0])
    assert got.shape == (1, 1, 2, 50)


def test_an_exclusive_cumulative_sum_starts_at_zero(compute):
    x = np.asarray([[1, 2, 4]], np.float32)
    assert compute("cumsum", gives=(1, 3), x=x, axis=1, exclusive=True).tolist() == [[0, 1, 3]]
    assert compute("cumsum", gives=(1, 3), x=x, axis=1, exclusive=True, reverse=True).tolist() == [[6, 4, 0]]


def test_activations_agree_with_their_formulas(compute, numbers):
    x = numbers(2, 3, 4)
    np.testing.assert_allclose(compute("silu", gives=x.shape, x=x), x / (1 + np.exp(-x)), atol=1e-6)
    np.testing.assert_allclose(compute("softsign", gives=x.shape, x=x), x / (1 + np.abs(x)), atol=1e-6)
    np.testing.assert_array_equal(compute("relu6", gives=x.shape, x=9 * x), np.clip(9 * x, 0, 6))
    alpha = np.asarray([0.5, 2, -1], np.float32)
    np.testing.assert_allclose(
        compute("prelu", gives=x.shape, x=x, alpha=alpha), np.where(x >= 0, x, x * alpha[:, None]), atol=1e-6
    )
    a, b = np.float32(0.5), np.float32(-2)
    np.testing.assert_allclose(compute("linear_activation", gives=x.shape, x=x, alpha=a, beta=b), 0.5 * x - 2, atol=1e-6)
    np.testing.assert_allclose(compute("scaled_tanh", gives=x.shape, x=x, alpha=a, beta=b), 0.5 * np.tanh(-2 * x), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("gelu", {"x": np.zeros(2, np.float32), "mode": "GUESS"}),
        ("cast", {"x": np.zeros(2, np.float32), "dtype": "complex"}),
        ("real_div", {"x": np.ones(2, np.int32), "y": np.ones(2, np.int32)}),
        ("split", {"x": np.zeros(2, np.float32), "axis": 0, "num_splits": 3}),
        ("pad", {"x": np.zeros(2, np.float32), "pad": [1, 1], "mode": "wrap"}),
        ("clip", {"x": np.zeros(2, np.float32), "alpha": np.float32(0)}),
        ("reshape", {"x": np.zeros(2, np.float32), "shape": [3]}),
    ],
)
def test_unsupported_parameter_values_are_input_errors(compute, kind, parameters):
    with pytest.raises(InputError, match=f"the operation {kind} named 'it' cannot be interpreted"):
        compute(kind, gives=(2,), **parameters)


def test_a_constant_of_an_unsupported_type_is_an_input_error(program_of):
    program = program_of("relu", outputs=[TensorType("fp32", (2,))], x=np.ones(2, np.float32), dtypes={"x": "fp64"})
    with pytest.raises(InputError, match="constants of type fp64 cannot be interpreted"):
        Interpreter(program)


def test_a_program_that_uses_an_undefined_name_is_an_input_error():
    program = chain(step("relu", "y", "fp32", (2,), x="none"), inputs=[], outputs=["y"])
    with pytest.raises(InputError, match="relu named 'y' is damaged.*KeyError: 'none'.*export the model again"):
        Interpreter(program).predict({})


def test_bytes_of_a_type_are_rounded_up():
    assert TensorType("uint6", (3, 5)).bytes == 12  # 90 bits
    assert TensorType("fp16", (1, 3, 7)).bytes == 42
    assert not TensorType("fp16", (1, None)).static and str(TensorType("fp16", (1, None))) == "fp16 (1, ?)"
    assert dataclasses.replace(TensorType("int32", ()), shape=(2,)).bytes == 8
