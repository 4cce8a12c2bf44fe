"""Small programs built by hand, and saved packages, for the tests of the reader and the interpreter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.export.mil import Constant, Interpreter, Operation, Program, TensorType, Variable

NAMES = {"float32": "fp32", "float16": "fp16"}


def constant(value: Any, *, dtype: str | None = None) -> Constant:
    """Return a constant: text, or an array in which Python integers become int32 and Python floats fp32."""
    if isinstance(value, str):
        return Constant(TensorType("string"), value)
    array = np.asarray(value)
    array = array.astype({"float64": np.float32, "int64": np.int32}.get(array.dtype.name, array.dtype))
    return Constant(TensorType(dtype or NAMES.get(array.dtype.name, array.dtype.name), array.shape), array)


def one_operation(kind: str, *, outputs: list[TensorType], dtypes: dict[str, str] | None = None, **parameters: Any) -> Program:
    """Return a program with one operation on constants; a list of arrays becomes a tuple of values."""
    constants, inputs = {}, {}
    for name, value in parameters.items():
        members = value if isinstance(value, list) and any(isinstance(one, np.ndarray) for one in value) else [value]
        inputs[name] = tuple(f"{name}{index}" for index in range(len(members)))
        made = [constant(one, dtype=(dtypes or {}).get(name)) for one in members]
        constants.update(zip(inputs[name], made, strict=True))
    results = tuple(Variable(f"result{index}", kind) for index, kind in enumerate(outputs))
    return Program(
        opset="CoreML7",
        inputs=(),
        outputs=tuple(result.name for result in results),
        operations=(Operation(type=kind, name="it", inputs=inputs, outputs=results),),
        constants=constants,
        metadata={},
    )


@pytest.fixture(scope="session")
def constant_of() -> Callable[..., Constant]:
    return constant


@pytest.fixture(scope="session")
def program_of() -> Callable[..., Program]:
    return one_operation


@pytest.fixture(scope="session")
def compute() -> Callable[..., Any]:
    """Compute one operation.

    The result has shape `gives` and type `declared`; with `each`, it is a list of results of these shapes.
    """

    def run(kind: str, *, declared: str = "fp32", gives: Any = None, each: Any = None, **parameters: Any) -> Any:
        wanted = [TensorType(declared, tuple(one)) for one in (each or [gives])]
        found = Interpreter(one_operation(kind, outputs=wanted, **parameters)).predict({})
        return list(found.values()) if each else found["result0"]

    return run


@pytest.fixture(scope="session")
def numbers() -> Callable[..., np.ndarray]:
    """Return random float32 numbers of a shape, the same for the same seed."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Path]:
    """Save a coremltools model and return the path of the package."""
    pytest.importorskip("coremltools", reason="makes the packages")
    from encoders.export.formats.coreml_convert import save

    def make(model: Any) -> Path:
        path = tmp_path_factory.mktemp("package") / "Model.mlpackage"
        save(model, path)
        return path

    return make


@pytest.fixture(scope="session")
def convert_module() -> Callable[..., Any]:
    """Convert a torch module to a coremltools model with inputs in0, ... and float32 outputs out0, ...."""
    pytest.importorskip("coremltools", reason="makes the packages")
    import torch

    from encoders.export.formats.coreml_convert import convert, need_coremltools

    def make(module: torch.nn.Module, *example: torch.Tensor, inputs: Any = None, half: bool = False, **options: Any) -> Any:
        ct = need_coremltools()
        with torch.no_grad():
            results = module.eval()(*example)
        count = len(results) if isinstance(results, tuple) else 1
        given = inputs or [ct.TensorType(name=f"in{place}", shape=one.shape) for place, one in enumerate(example)]
        outputs = [ct.TensorType(name=f"out{place}", dtype=np.float32) for place in range(count)]
        options = {"target": "iOS17", **options}
        return convert(module, example, inputs=given, outputs=outputs, half=half, **options)

    return make


@pytest.fixture(scope="session")
def save_package(convert_module: Callable[..., Any], save_model: Callable[[Any], Path]) -> Callable[..., Path]:
    """Save a torch module and return the path of the package; see `convert_module`."""
    return lambda *arguments, **options: save_model(convert_module(*arguments, **options))
