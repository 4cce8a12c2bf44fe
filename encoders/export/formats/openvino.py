"""OpenVINO: `encoder.xml` and `decoder.xml`, each with its `.bin`, by the contracts and names of the ONNX format.

They come from `torch.export` directly, so that ONNX is not needed.
"""

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encoders.errors import InputError, MissingExtra
from encoders.export.formats.base import CALLER_NORMALISES, POINTS, How
from encoders.export.formats.openvino_weights import store_weights
from encoders.export.formats.sam_contract import DECODER_INPUTS, DECODER_OUTPUTS, decode_by_sam_contract, decoder_example
from encoders.export.formats.stored_weights import DECODER_PRECISION
from encoders.export.graph import trace
from encoders.export.modules.exportable import exportable
from encoders.export.modules.frame import input_shape
from encoders.export.modules.prompt_decoder import SamOnnxDecoder
from encoders.sam import Sam

ENCODER, DECODER = "encoder.xml", "decoder.xml"
PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}  # OpenVINO's names to ours
HINTS = {"bf16": "bf16"}  # precision requested from the CPU; f32 for all others


class OpenVinoFormat:
    """Intermediate representation for OpenVINO's CPU plugin.

    "fp16" and "int8" store large weights in this type and compute in fp32; with "int8" the decoder's weights are fp16. "bf16"
    stores fp32 and lets the CPU compute the encoder in bf16; the decoder stays in fp32, since bf16 cannot hold a coordinate.
    """

    name = "openvino"
    format = "openvino"
    extra = "openvino"
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8", "bf16")
    padding = CALLER_NORMALISES
    points = POINTS
    takes_masks = True
    elsewhere: tuple[str, ...] = ()

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        image = torch.zeros(input_shape(sam))
        encoder = convert(exportable(sam.image_encoder), example=(image,), inputs=("image",), outputs=("image_embeddings",))
        save(encoder, folder / ENCODER, precision=precision)
        example, shapes = decoder_example(image_size=sam.image_size)
        decoder = convert(
            SamOnnxDecoder(sam), example=example, inputs=DECODER_INPUTS, outputs=DECODER_OUTPUTS, dynamic_shapes=shapes
        )
        save(decoder, folder / DECODER, precision=DECODER_PRECISION.get(precision, precision))

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "OpenVinoRuntime":
        """See `Format.open`."""
        return OpenVinoRuntime(
            folder / ENCODER, folder / DECODER, image_size=image_size, hint=HINTS.get(precision, "f32"), threads=threads
        )


def convert(
    module: nn.Module,
    *,
    example: tuple[torch.Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    dynamic_shapes: Any = None,
) -> Any:
    """Convert a module in eval mode to an `openvino.Model`, static except for the dimensions that `dynamic_shapes` names.

    Raises:
        MissingExtra: openvino is not installed.
        InputError: the module is in train mode, cannot be traced, or has an operation that OpenVINO does not know; the message
            names it.
    """
    openvino = _openvino()
    program = trace(module, example, dynamic_shapes=dynamic_shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converter about itself
        try:
            model = openvino.convert_model(program)
        except Exception as error:  # its own exceptions have no common base
            raise InputError(f"OpenVINO cannot convert the model ({_reason(error)})") from error
    for port, name, value, dynamic in zip(
        model.inputs, inputs, example, dynamic_shapes or [{}] * len(inputs), strict=True
    ):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        sizes = [-1 if axis in dynamic else size for axis, size in enumerate(value.shape)]
        port.get_node().set_partial_shape(openvino.PartialShape(sizes))
    for port, name in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    return model


def save(model: Any, path: Path, *, precision: str) -> None:
    """Write a model's `.xml` and `.bin`; if `precision` is "fp16" or "int8", large weights are stored in this type.

    OpenVINO's own compression to fp16 applies to every weight: with it sam_demo's lowest mask IoU was 0.975, with this one
    0.997.
    """
    if precision in ("fp16", "int8"):
        store_weights(model, precision=precision)
    _openvino().save_model(model, str(path), compress_to_fp16=False)


class OpenVinoRuntime:
    """OpenVINO on the CPU with an encoder and a decoder of segment-anything's contract.

    `precision` is the precision that the compiled encoder reports: some CPUs use bf16 by default, others do not support
    it.

    Args:
        image_size: S in pixels.
        hint: requested precision of the encoder, "f32" or "bf16".
        threads: number of threads; None leaves it to OpenVINO.

    Raises:
        MissingExtra: openvino is not installed.
        InputError: a file is missing or is not a model.
    """

    how: How = "executed"

    def __init__(
        self, encoder: Path, decoder: Path, *, image_size: int, hint: str = "f32", threads: int | None = None
    ) -> None:
        self.name = f"OpenVINO {_openvino().__version__.split('-')[0]}"
        self.image_size = image_size
        self._encoder = compile_model(encoder, hint=hint, threads=threads)
        self._decoder = compile_model(decoder, hint="f32", threads=threads)
        self.precision = effective_precision(self._encoder)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`."""
        return np.array(self._encoder([image])[0], np.float32)

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`."""

        def ask(given: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            found = self._decoder(given)
            return np.array(found["low_res_masks"]), np.array(found["iou_predictions"])

        return decode_by_sam_contract(
            ask, embedding=embedding, coords=coords, labels=labels, masks=masks, image_size=self.image_size
        )


def compile_model(path: Path, *, hint: str = "f32", threads: int | None = None) -> Any:
    """Read and compile a model for the CPU; return an `openvino.CompiledModel`.

    Args:
        path: the `.xml`; the `.bin` is expected beside it.
        hint: requested precision, by OpenVINO's name.

    Raises:
        MissingExtra: openvino is not installed.
        InputError: a file is missing, truncated, or not a model.
    """
    _openvino()
    for file in (path, path.with_suffix(".bin")):
        if not file.is_file():
            raise InputError(f"{file} does not exist; expected an exported OpenVINO model, an .xml with its .bin")
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        return core().compile_model(str(path), "CPU", config)
    except Exception as error:  # its own exceptions have no common base
        raise InputError(f"{path} cannot be opened by OpenVINO ({_reason(error)}); export it again") from error


@functools.cache
def core() -> Any:
    """Return the only `openvino.Core` of this process.

    The CPU plugin of each Core sets the thread's alternative signal stack and restores the previous one when it ends. Two Cores
    that end in the order in which they were created leave a stack that is no longer mapped, and the next signal then ends the
    process.

    Raises:
        MissingExtra: openvino is not installed.
    """
    return _openvino().Core()


def effective_precision(compiled: Any) -> str:
    """Return the inference precision that a compiled model reports: "fp32", "bf16" or "fp16"."""
    kind = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return PRECISIONS.get(kind, kind)


def _reason(error: Exception) -> str:
    """Return the informative lines of an OpenVINO message, skipping the leading ones that name source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '", "[ERROR]"))]
    return " ".join(telling or lines or [type(error).__name__])[:200]


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("openvino", extra=OpenVinoFormat.extra) from error
    return openvino
