"""LiteRT (the former TensorFlow Lite): `encoder.tflite` and `decoder.tflite`.

The decoder takes one prompt a call and has a signature for each number of points, `decode_2` to `decode_6`, which share their
weights: shapes in a file are fixed, and filling up with further points would change the answer. It takes no masks of an
earlier round.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.contract import EMBED_DIM, STRIDE
from encoders.errors import InputError, MissingExtra
from encoders.export.formats.base import CALLER_NORMALISES, How, no_mask_input
from encoders.export.formats.single_prompts import check_points, decode_one_by_one
from encoders.export.graph import check_eval
from encoders.export.modules.exportable import exportable
from encoders.export.modules.frame import input_shape
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.sam import Sam

ENCODER, DECODER = "encoder.tflite", "decoder.tflite"
MIN_POINTS, MAX_POINTS = 2, 6
SIGNATURE = "decode_{points}"


class LiteRtFormat:
    """Flatbuffers for LiteRT, in fp32.

    `encoder.tflite` takes the embedding contract's image (1, 3, S, S) float32 and gives (1, 256, S/16, S/16). `decoder.tflite`
    has signatures `decode_2` to `decode_6`. Each takes `args_0`, that embedding, `args_1`, points (1, N, 2) float32, and
    `args_2`, labels (1, N) float32, by `PromptDecoder`'s contract; it gives `output_0`, logits (1, 4, S/4, S/4), and
    `output_1`, predicted IoU (1, 4). So a box and up to 4 points, or up to 5 points and the padding point.
    """

    name = "litert"
    format = "litert"
    extra = "litert"
    precisions: tuple[str, ...] = ("fp32",)
    padding = CALLER_NORMALISES
    points = tuple(range(MIN_POINTS, MAX_POINTS + 1))  # each has its own graph
    takes_masks = False
    elsewhere: tuple[str, ...] = ()

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        image = torch.zeros(input_shape(sam))
        convert({"encode": (exportable(sam.image_encoder), (image,))}, folder / ENCODER)
        side, decoder = sam.image_size // STRIDE, PromptDecoder(sam)
        embedding = torch.zeros(1, EMBED_DIM, side, side)
        signatures = {
            SIGNATURE.format(points=points): (decoder, (embedding, torch.zeros(1, points, 2), torch.zeros(1, points)))
            for points in range(MIN_POINTS, MAX_POINTS + 1)
        }
        convert(signatures, folder / DECODER)

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "LiteRtRuntime":
        """See `Format.open`."""
        return LiteRtRuntime(folder / ENCODER, folder / DECODER, threads=threads)


def convert(signatures: Mapping[str, tuple[torch.nn.Module, tuple[torch.Tensor, ...]]], path: Path) -> None:
    """Write modules in eval mode as the signatures of one file; each comes with the inputs whose shapes it is to have.

    Raises:
        MissingExtra: litert-torch is not installed.
        InputError: a module is in train mode, or has an operation that LiteRT does not know; the message names it.
    """
    try:
        import litert_torch
    except ImportError as error:
        raise MissingExtra("litert-torch", extra=LiteRtFormat.extra) from error
    for module, _ in signatures.values():
        check_eval(module)
    converter: Any = litert_torch
    with _quiet(), torch.no_grad():
        try:
            for name, (module, example) in signatures.items():
                converter = converter.signature(name, module, example)
            converter.convert().export(str(path))
        except OSError:
            raise
        except Exception as error:  # its own exceptions have no common base
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"LiteRT cannot convert the model ({reason})") from error


class LiteRtRuntime:
    """LiteRT's interpreter on the CPU, with XNNPACK.

    Args:
        threads: number of threads; None leaves it to LiteRT.

    Raises:
        MissingExtra: ai-edge-litert is not installed.
        InputError: a file is missing or is not a model.
    """

    how: How = "executed"
    precision = "fp32"

    def __init__(self, encoder: Path, decoder: Path, *, threads: int | None = None) -> None:
        self._encoder = open_interpreter(encoder, threads=threads)
        self._decoder = open_interpreter(decoder, threads=threads)
        from importlib.metadata import version

        self.name = f"LiteRT {version('ai-edge-litert')}"

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`."""
        found: np.ndarray = self._encoder.get_signature_runner("encode")(args_0=image)["output_0"]
        return found

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`; prompts are decoded one by one.

        Raises:
            InputError: masks are given, or fewer than 2 or more than 6 points.
        """
        no_mask_input(masks)
        points = labels.shape[1]
        check_points(points, fewest=MIN_POINTS, most=MAX_POINTS)
        runner = self._decoder.get_signature_runner(SIGNATURE.format(points=points))

        def ask(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = runner(**{f"args_{place}": value for place, value in enumerate(given)})
            return found["output_0"], found["output_1"]

        return decode_one_by_one(ask, embedding, coords, labels)


def open_interpreter(path: Path, *, threads: int | None = None) -> Any:
    """Open a file with LiteRT's interpreter.

    Raises:
        MissingExtra: ai-edge-litert is not installed.
        InputError: the file is missing or is not a model.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtra("ai-edge-litert", extra=LiteRtFormat.extra) from error
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected an exported LiteRT model")
    try:
        return Interpreter(model_path=str(path), num_threads=threads)
    except Exception as error:  # its own exceptions have no common base
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be opened by LiteRT ({reason}); export it again") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the converter, which prints and logs each of its steps."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
