"""Conversion of torch modules to Core ML with `torch.export`; tracing fails on TinyViT and on SAM's decoder."""

import contextlib
import importlib
import importlib.metadata
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from encoders.errors import InputError, MissingExtra
from encoders.export.graph import reason_of, trace

OLDEST = 9  # major version of coremltools that reads what torch.export writes today
UNSUPPORTED = re.compile(r"Unsupported fx node (\S+?),|convert function for op '([^']+)' not implemented")


def need_coremltools() -> Any:
    """Import `coremltools` without its version warnings.

    Raises:
        MissingExtra: it is not installed.
        InputError: it is too old.
    """
    try:
        version = importlib.metadata.version("coremltools")
        if int(version.split(".")[0]) < OLDEST:
            raise InputError(
                f"coremltools {version} is installed, version {OLDEST} or newer is needed; "
                "install it with: pip install -U 'repvit-sam[coreml]'"
            )
        with quiet():
            return importlib.import_module("coremltools")
    except ImportError as error:  # also covers PackageNotFoundError
        raise MissingExtra("coremltools", extra="coreml") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress coremltools' progress bars, warnings and log lines."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def convert(
    module: nn.Module,
    example: tuple[Tensor, ...],
    *,
    inputs: list[Any],
    outputs: list[Any],
    half: bool,
    target: str,
    dynamic_shapes: Any = None,
    keep_float32: Callable[[Any], bool] | None = None,
) -> Any:
    """Convert a module in eval mode to a coremltools model, neither loaded nor saved.

    Args:
        example: inputs of the module; inputs, outputs: coremltools' types of both.
        half: whether to compute in fp16.
        target: oldest system that can run the model, a name of `coremltools.target`, e.g. "iOS17".
        dynamic_shapes: as for `torch.export.export`.
        keep_float32: operation of the program -> whether it stays in float32 in spite of `half`.

    Raises:
        MissingExtra: coremltools is not installed.
        InputError: the module is in train mode, cannot be traced, or has an operation that coremltools does not know.
    """
    ct = need_coremltools()
    precision: Any = ct.precision.FLOAT32
    if half:
        precision = ct.transform.FP16ComputePrecision(op_selector=lambda op: keep_float32 is None or not keep_float32(op))
    with quiet():
        program = trace(module, example, dynamic_shapes=dynamic_shapes, strict=True)
    try:
        with quiet():
            return ct.convert(
                program.run_decompositions({}),
                inputs=inputs,
                outputs=outputs,
                convert_to="mlprogram",
                minimum_deployment_target=getattr(ct.target, target),
                compute_precision=precision,
                skip_model_load=True,
            )
    except OSError:
        raise
    except Exception as error:  # its own exceptions have no common base
        raise InputError(_refusal(error)) from error


def _refusal(error: Exception) -> str:
    found = UNSUPPORTED.search(str(error))
    if found:
        name = found.group(1) or found.group(2)
        return f"coremltools does not know the model's operation {name!r}; write it with others, or export to another format"
    return f"coremltools cannot convert the model: {reason_of(error)}; export to another format"


def leads_to_sine(operation: Any) -> bool:
    """Return whether a sine or cosine is computed from an operation's results. In SAM's position encoding the arguments reach
    many turns, so fp16 coordinates cost up to 0.006 of mask IoU.
    """
    seen, waiting = {id(operation)}, [operation]
    while waiting:
        current = waiting.pop()
        if current.op_type in ("sin", "cos"):
            return True
        for child in (child for output in current.outputs for child in output.child_ops):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
    return False


def up_to_convolution(count: int) -> Callable[[Any], bool]:
    """Return a predicate that is true for operations with at most `count` convolutions on their longest path from the inputs,
    themselves included, and for the constants of these operations; for a count of 0 it is always false.
    """
    depths: dict[str, int] = {}

    def chosen(operation: Any) -> bool:
        if not count:
            return False
        if not depths:
            depths.update(convolution_depths(operation.enclosing_block.operations))
        if operation.op_type == "const":
            return any(chosen(child) for output in operation.outputs for child in output.child_ops)
        return depths.get(operation.name, count + 1) <= count

    return chosen


def convolution_depths(operations: Iterable[Any]) -> dict[str, int]:
    """Map each operation's name to the convolutions on its longest path from the inputs; operations in program order."""
    depths: dict[str, int] = {}
    for operation in operations:
        before = []
        for given in operation.inputs.values():
            values = given if isinstance(given, (list, tuple)) else (given,)
            before += [depths[value.op.name] for value in values if getattr(value, "op", None) is not None]
        depths[operation.name] = max(before, default=0) + (operation.op_type == "conv")
    return depths


def save(model: Any, path: Path) -> None:
    """Write a coremltools model as an `.mlpackage`, without debugging files, with the permissions that the umask gives."""
    with quiet():
        model.save(str(path))
    (path / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
    mode = (path / "Manifest.json").stat().st_mode
    for file in path.rglob("*.mlmodel"):  # coremltools makes it readable by its owner only
        file.chmod(mode)
