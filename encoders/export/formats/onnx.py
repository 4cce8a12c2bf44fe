"""ONNX: `encoder.onnx` by the embedding contract, `decoder.onnx` by segment-anything's names; run by ONNX Runtime."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encoders.contract import MASK_STRIDE
from encoders.errors import InputError, MissingExtra
from encoders.export.decoder_module import SamOnnxDecoder
from encoders.export.exportable import exportable
from encoders.export.formats.base import How
from encoders.sam import Sam

OPSET = 18
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
DECODER_INPUTS = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
DECODER_OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
MAX_PROMPTS, MAX_POINTS = 1024, 64  # of a call


class OnnxFormat:
    """Opset 18, by torch's exporter through `torch.export`."""

    name = "onnx"
    format = "onnx"
    extra = "onnx"
    precisions: tuple[str, ...] = ("fp32",)
    padding = "the caller normalises, then pads right and below with zeros"

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        image = torch.zeros(1, 3, sam.image_size, sam.image_size)
        write_encoder(exportable(sam.image_encoder), folder / ENCODER, image=image)
        write_sam_decoder(sam, folder / DECODER)

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "OnnxRuntime":
        """See `Format.open`."""
        return OnnxRuntime(folder / ENCODER, folder / DECODER, image_size=image_size, threads=threads)


def write_encoder(
    encoder: nn.Module, path: Path, *, image: torch.Tensor, input_name: str = "image", output_name: str = "image_embeddings"
) -> None:
    """One input, one output, both of fixed shape."""
    write_onnx(encoder, path, example=(image,), inputs=(input_name,), outputs=(output_name,))


def write_sam_decoder(sam: Sam, path: Path) -> None:
    """segment-anything's decoder contract, for any number of prompts and points."""
    side = sam.image_size // 16
    example = (
        torch.zeros(1, 256, side, side),
        torch.tensor([[[10.0, 20.0], [30.0, 50.0], [0.0, 0.0]]]).repeat(2, 1, 1),
        torch.tensor([[2.0, 3.0, -1.0]]).repeat(2, 1),
        torch.zeros(1, 1, sam.image_size // MASK_STRIDE, sam.image_size // MASK_STRIDE),
        torch.zeros(1),
        torch.tensor([48.0, 64.0]),
    )
    prompts = torch.export.Dim("prompts", min=1, max=MAX_PROMPTS)
    points = torch.export.Dim("points", min=1, max=MAX_POINTS)
    shapes: Any = ({}, {0: prompts, 1: points}, {0: prompts, 1: points}, {}, {}, {})
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
    """Export a module in eval mode as one ONNX file, weights inside.

    Raises:
        MissingExtra: onnx or onnxscript is not installed.
        InputError: the module is in train mode.
    """
    for package in ("onnx", "onnxscript"):
        _need(package)
    if module.training:
        raise InputError("the model is in train mode, where BatchNorm gives other results; call eval() first")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter about itself
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
        program.save(str(path), external_data=False)


class OnnxRuntime:
    """ONNX Runtime on the CPU with an encoder and a decoder of segment-anything's contract.

    Args:
        image_size: S in pixels.
        threads: of one operation; None leaves it to ONNX Runtime.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or no model.
    """

    how: How = "executed"

    def __init__(
        self,
        encoder: Path,
        decoder: Path,
        *,
        image_size: int,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        onnxruntime = _need("onnxruntime")
        self.name = f"ONNX Runtime {onnxruntime.__version__}"
        self.precision = precision
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
        """See `Runtime.decode`; masks of several prompts are asked one by one, as the contract has room for one."""
        if masks is not None and len(masks) > 1:
            each = [self.decode(embedding, *(v[i : i + 1] for v in (coords, labels, masks))) for i in range(len(masks))]
            logits, scores = (np.concatenate(values) for values in zip(*each, strict=True))
            return logits, scores
        side = self.image_size // MASK_STRIDE
        given = {
            "image_embeddings": embedding,
            "point_coords": np.asarray(coords, np.float32),
            "point_labels": np.asarray(labels, np.float32),
            "mask_input": np.zeros((1, 1, side, side), np.float32) if masks is None else np.asarray(masks, np.float32),
            "has_mask_input": np.asarray([masks is not None], np.float32),
            "orig_im_size": np.asarray([16, 16], np.float32),  # the masks of the photo's size are not used here
        }
        scores, logits = self._decoder.run(["iou_predictions", "low_res_masks"], given)
        return logits, scores


def open_session(path: Path, *, threads: int | None = None) -> Any:
    """An ONNX Runtime session on the CPU.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: the file is missing or no model.
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
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{path} cannot be opened by ONNX Runtime ({reason}); export it again") from error


def _need(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtra(package, extra=OnnxFormat.extra) from error
