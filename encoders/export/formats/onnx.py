"""ONNX: `encoder.onnx` by the embedding contract, `decoder.onnx` by segment-anything's names; run by ONNX Runtime."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encoders.errors import InputError, MissingExtra
from encoders.export.formats.base import CALLER_NORMALISES, POINTS, How
from encoders.export.formats.onnx_weights import store_weights
from encoders.export.formats.sam_contract import (
    DECODER_INPUTS,
    DECODER_OUTPUTS,
    MAX_POINTS,
    MAX_PROMPTS,
    decode_by_sam_contract,
    decoder_example,
)
from encoders.export.formats.stored_weights import DECODER_PRECISION
from encoders.export.graph import check_eval, reason_of, tensor_bytes
from encoders.export.modules.exportable import exportable
from encoders.export.modules.frame import input_shape
from encoders.export.modules.prompt_decoder import SamOnnxDecoder
from encoders.sam import Sam

__all__ = [
    "DECODER",
    "DECODER_INPUTS",
    "DECODER_OUTPUTS",
    "ENCODER",
    "IR_VERSION",
    "MAX_POINTS",
    "MAX_PROMPTS",
    "OPSET",
    "OnnxFormat",
    "OnnxRuntime",
    "open_session",
    "store_weights",
    "write_encoder",
    "write_onnx",
    "write_sam_decoder",
]

OPSET = 18
MAX_FILE_BYTES = 1536 * 2**20  # of weights; torch stores more than that beside the file, as protobuf is limited to 2 GiB
IR_VERSION = 8  # that of opset 18; torch writes 10, which ONNX Runtime only reads from 1.18 on
UNSUPPORTED = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


class OnnxFormat:
    """ONNX files of opset 18, written by torch's exporter through `torch.export`.

    "fp16" and "int8" store large weights in this type and compute in fp32; with "int8" the decoder's weights are fp16. A
    tool's target that derives from this class only offers fp32 and takes no masks of an earlier round unless it declares
    otherwise, because it writes its own files.
    """

    name = "onnx"
    format = "onnx"
    extra = "onnx"
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    padding = CALLER_NORMALISES
    points = POINTS
    takes_masks = True
    elsewhere: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "precisions" not in vars(cls):
            cls.precisions = ("fp32",)
        if "takes_masks" not in vars(cls):
            cls.takes_masks = False

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        image = torch.zeros(input_shape(sam))
        write_encoder(exportable(sam.image_encoder), folder / ENCODER, image=image)
        write_sam_decoder(sam, folder / DECODER)
        if precision != "fp32":
            store_weights(folder / ENCODER, precision=precision)
            store_weights(folder / DECODER, precision=DECODER_PRECISION.get(precision, precision))

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "OnnxRuntime":
        """See `Format.open`."""
        return OnnxRuntime(folder / ENCODER, folder / DECODER, image_size=image_size, threads=threads)


def write_encoder(
    encoder: nn.Module, path: Path, *, image: torch.Tensor, input_name: str = "image", output_name: str = "image_embeddings"
) -> None:
    """Write an image encoder with one input and one output of fixed shapes."""
    write_onnx(encoder, path, example=(image,), inputs=(input_name,), outputs=(output_name,))


def write_sam_decoder(sam: Sam, path: Path) -> None:
    """Write a decoder with segment-anything's contract, for any number of prompts and points."""
    example, shapes = decoder_example(image_size=sam.image_size)
    write_onnx(
        SamOnnxDecoder(sam), path, example=example, inputs=DECODER_INPUTS, outputs=DECODER_OUTPUTS, dynamic_shapes=shapes
    )


def write_onnx(
    module: nn.Module,
    path: Path,
    *,
    example: tuple[torch.Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    dynamic_shapes: Any = None,
) -> None:
    """Export a module in eval mode as one ONNX file that contains the weights.

    Raises:
        MissingExtra: onnx or onnxscript is not installed.
        InputError: the module is in train mode, cannot be traced, or has an operation that ONNX does not know.
    """
    for package in ("onnx", "onnxscript"):
        _need(package)
    check_eval(module)
    size = tensor_bytes([*module.parameters(), *module.buffers()])
    if size > MAX_FILE_BYTES:
        raise InputError(f"the model has {size / 2**30:.1f} GiB of weights, one ONNX file holds 2; export to another format")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter about itself
        try:
            program: Any = torch.onnx.export(
                module,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dynamic_shapes,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # its own exceptions have no common base
            raise InputError(f"the model cannot be written as ONNX: {refusal(error)}; export to another format") from error
        program.model.ir_version = IR_VERSION
        program.save(str(path), external_data=False)


def refusal(error: Exception) -> str:
    """Return why torch's exporter failed: an operation that ONNX does not know, or the innermost exception's first line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    found = UNSUPPORTED.search(str(cause)) or UNSUPPORTED.search(str(error))
    return f"it has no operation {found.group(1)!r}" if found else reason_of(cause)


class OnnxRuntime:
    """ONNX Runtime on the CPU with an encoder and a decoder of segment-anything's contract.

    Args:
        image_size: S in pixels.
        threads: threads for one operation; None leaves it to ONNX Runtime.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or is not a model.
    """

    how: How = "executed"

    def __init__(
        self,
        encoder: Path,
        decoder: Path,
        *,
        image_size: int,
        threads: int | None = None,
    ) -> None:
        onnxruntime = _need("onnxruntime")
        self.name = f"ONNX Runtime {onnxruntime.__version__}"
        self.precision = "fp32"
        self.image_size = image_size
        self._encoder = open_session(encoder, threads=threads)
        self._decoder = open_session(decoder, threads=threads)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`."""
        (embedding,) = self._encoder.run(None, {self._encoder.get_inputs()[0].name: image})
        return np.asarray(embedding, np.float32)

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`."""

        def ask(given: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            scores, logits = self._decoder.run(["iou_predictions", "low_res_masks"], given)
            return logits, scores

        return decode_by_sam_contract(
            ask, embedding=embedding, coords=coords, labels=labels, masks=masks, image_size=self.image_size
        )


def open_session(path: Path, *, threads: int | None = None) -> Any:
    """Open a file with ONNX Runtime on the CPU.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: the file is missing or is not a model.
    """
    onnxruntime = _need("onnxruntime")
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected an exported ONNX model")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions have no common base
        raise InputError(f"{path} cannot be opened by ONNX Runtime ({reason_of(error)}); export it again") from error


def _need(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtra(package, extra=OnnxFormat.extra) from error
