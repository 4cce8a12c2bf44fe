"""ExecuTorch: `encoder.pte` and `decoder.pte` for XNNPACK on phones and desktops.

The decoder takes one prompt a call, of 2 to 16 points; the number of points is exact, because filling up with further
points would change the answer. It takes no masks of an earlier round.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encoders.contract import EMBED_DIM, STRIDE
from encoders.errors import InputError, MissingExtra
from encoders.export.formats.base import CALLER_NORMALISES, How, no_mask_input
from encoders.export.formats.single_prompts import check_points, decode_one_by_one
from encoders.export.graph import trace
from encoders.export.modules.exportable import exportable
from encoders.export.modules.frame import input_shape
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.sam import Sam

ENCODER, DECODER = "encoder.pte", "decoder.pte"
METHOD = "forward"
MIN_POINTS, MAX_POINTS = 2, 16


class ExecuTorchFormat:
    """Programs lowered to XNNPACK, in fp32.

    `encoder.pte` takes the embedding contract's image (1, 3, S, S) float32 and gives (1, 256, S/16, S/16). `decoder.pte` takes
    that, points (1, N, 2) float32 and labels (1, N) float32 by `PromptDecoder`'s contract, N from 2 to 16, and gives
    logits (1, 4, S/4, S/4) and predicted IoU (1, 4). So a box and up to 14 points, or up to 15 points and the padding point.
    """

    name = "executorch"
    format = "executorch"
    extra = "executorch"
    precisions: tuple[str, ...] = ("fp32",)
    padding = CALLER_NORMALISES
    points = (MIN_POINTS, MIN_POINTS + 1, MAX_POINTS)
    takes_masks = False
    elsewhere: tuple[str, ...] = ()

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        image = torch.zeros(input_shape(sam))
        (folder / ENCODER).write_bytes(lower(exportable(sam.image_encoder), example=(image,)))
        side = sam.image_size // STRIDE
        points = torch.export.Dim("points", min=MIN_POINTS, max=MAX_POINTS)
        example = (torch.zeros(1, EMBED_DIM, side, side), torch.zeros(1, 3, 2), torch.zeros(1, 3))
        program = lower(PromptDecoder(sam), example=example, dynamic_shapes=({}, {1: points}, {1: points}))
        (folder / DECODER).write_bytes(program)

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "ExecuTorchRuntime":
        """See `Format.open`; XNNPACK chooses the number of threads, as the Python runtime does not let it be set."""
        return ExecuTorchRuntime(folder / ENCODER, folder / DECODER)


def lower(module: nn.Module, *, example: tuple[torch.Tensor, ...], dynamic_shapes: Any = None) -> bytes:
    """Convert a module in eval mode to an ExecuTorch program: XNNPACK for what it supports, portable kernels for the rest.

    Raises:
        MissingExtra: executorch is not installed.
        InputError: the module is in train mode, or has an operation that ExecuTorch does not know; the message names it.
    """
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise MissingExtra("executorch", extra=ExecuTorchFormat.extra) from error
    logging.getLogger("executorch").setLevel(logging.ERROR)
    program = trace(module, example, dynamic_shapes=dynamic_shapes)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the converter about itself
        try:
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        except Exception as error:  # its own exceptions have no common base
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"ExecuTorch cannot lower the model ({reason})") from error
    return bytes(lowered.buffer)


class ExecuTorchRuntime:
    """ExecuTorch's runtime in Python, on the CPU.

    Raises:
        MissingExtra: executorch is not installed.
        InputError: a file is missing or is not a program.
    """

    how: How = "executed"
    precision = "fp32"

    def __init__(self, encoder: Path, decoder: Path) -> None:
        from importlib.metadata import version

        self._encoder = open_method(encoder)
        self._decoder = open_method(decoder)
        self.name = f"ExecuTorch {version('executorch')} (XNNPACK)"

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`."""
        (embedding,) = self._call(self._encoder, image)
        return embedding

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`; prompts are decoded one by one.

        Raises:
            InputError: masks are given, or fewer than 2 or more than 16 points.
        """
        no_mask_input(masks)
        check_points(labels.shape[1], fewest=MIN_POINTS, most=MAX_POINTS)
        return decode_one_by_one(lambda *given: self._call(self._decoder, *given), embedding, coords, labels)

    def _call(self, method: Any, *arrays: np.ndarray) -> list[np.ndarray]:
        # The outputs are views of the method's own memory, which the next call overwrites.
        found = method.execute([torch.from_numpy(np.ascontiguousarray(array, np.float32)) for array in arrays])
        return [value.numpy().copy() for value in found]


def open_method(path: Path) -> Any:
    """Open the only method of a program file.

    Raises:
        MissingExtra: executorch is not installed.
        InputError: the file is missing or is not a program.
    """
    try:
        from executorch.runtime import Runtime, Verification
    except ImportError as error:
        raise MissingExtra("executorch", extra=ExecuTorchFormat.extra) from error
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected an exported ExecuTorch program")
    try:
        program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
        method = program.load_method(METHOD)
    except Exception as error:  # its own exceptions have no common base
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be opened by ExecuTorch ({reason}); export it again") from error
    if method is None:
        raise InputError(f"{path} has no method {METHOD!r}; export it again")
    return method
