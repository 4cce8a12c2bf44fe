"""A Core ML encoder and decoder, predicted by Core ML on macOS, interpreted from the saved programs elsewhere."""

import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.errors import InputError
from encoders.export.formats.base import How, no_mask_input
from encoders.export.formats.coreml_convert import need_coremltools, quiet
from encoders.export.formats.coreml_options import Counts, parse_counts
from encoders.export.mil import Interpreter, read_package
from encoders.export.modules.pixel_encoder import to_pixels

Arrays = Mapping[str, np.ndarray]
Predict = Callable[[Arrays], Arrays]


class CoreMlRuntime:
    """The runtime of an exported encoder and decoder.

    Args:
        encoder, decoder: named arrays -> named arrays; an image as (1, 3, S, S) uint8 RGB.
        prompts, points: the numbers that the decoder takes in a call.
    """

    def __init__(
        self, *, encoder: Predict, decoder: Predict, prompts: Counts, points: Counts, name: str, how: How, precision: str
    ) -> None:
        self.name = name
        self.how = how
        self.precision = precision
        self.prompts = prompts
        self.points = points
        self._encoder = encoder
        self._decoder = decoder

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`; the original pixels are recovered exactly."""
        found = self._encoder({"image": to_pixels(torch.from_numpy(image)).numpy()})
        return np.asarray(found["image_embeddings"], np.float32)

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`. Surplus prompts are split into several calls; missing ones are filled with copies of the last.

        Raises:
            InputError: masks are given, or a number of points that the decoder was not written for.
        """
        no_mask_input(masks)
        if not self.points.allows(coords.shape[1]):
            raise InputError(
                f"this decoder was written for {self.points} points of a prompt, corners of boxes and the padding point "
                f"included, {coords.shape[1]} were given; export it again with that number among its points"
            )
        logits, scores, start = [], [], 0
        while start < len(coords):
            room = self.prompts.room_for(len(coords) - start)
            places = np.minimum(np.arange(start, start + room), len(coords) - 1)
            found = self._decoder(
                {
                    "image_embeddings": embedding,
                    "point_coords": coords[places].astype(np.float32),
                    "point_labels": labels[places].astype(np.int32),
                }
            )
            asked = min(room, len(coords) - start)
            logits.append(np.asarray(found["low_res_masks"], np.float32)[:asked])
            scores.append(np.asarray(found["iou_predictions"], np.float32)[:asked])
            start += asked
        return np.concatenate(logits), np.concatenate(scores)


def open_runtime(encoder: Path, decoder: Path, *, precision: str) -> CoreMlRuntime:
    """Open the runtime of two packages that `CoreMlFormat` wrote.

    Args:
        precision: precision of the packages; all except fp32 compute in fp16.

    Raises:
        MissingExtra: coremltools is not installed.
        InputError: a package is missing, damaged, or was not written by this project.
    """
    prompts, points = decoder_counts(read_package(decoder).metadata, name=str(decoder))
    name, how = runtime_here()
    return CoreMlRuntime(
        encoder=open_package(encoder),
        decoder=open_package(decoder),
        prompts=prompts,
        points=points,
        name=name,
        how=how,
        precision=computed_in(precision),
    )


def runtime_here() -> tuple[str, How]:
    """Return the name and version of the runtime on this machine, and whether it executes or interprets packages.

    Raises:
        MissingExtra: coremltools is not installed.
    """
    version = need_coremltools().__version__
    if sys.platform == "darwin":
        return f"Core ML on macOS {platform.mac_ver()[0]} (coremltools {version})", "executed"
    return f"MIL interpreter (coremltools {version} package)", "interpreted"


def computed_in(precision: str) -> str:
    """Return the compute precision of a package; compressed weights are unpacked to fp16."""
    return "fp32" if precision == "fp32" else "fp16"


def open_package(path: Path) -> Predict:
    """Open a package as a function from named arrays to named arrays; images are (1, 3, H, W) uint8 RGB.

    Raises:
        MissingExtra: coremltools is not installed.
        InputError: the package is missing or damaged.
    """
    return open_executed(path) if sys.platform == "darwin" else open_interpreted(path)


def decoder_counts(metadata: Mapping[str, str], *, name: str) -> tuple[Counts, Counts]:
    """Return the numbers of prompts and points that a decoder package declares.

    Raises:
        InputError: it declares none.
    """
    if "prompts" not in metadata or "points" not in metadata:
        raise InputError(f"{name} is not a prompt decoder of this project: it declares no number of prompts and points")
    return parse_counts(metadata["prompts"]), parse_counts(metadata["points"])


def open_interpreted(path: Path) -> Predict:
    """Interpret the saved program, with the rounding of its types."""
    predict: Predict = Interpreter(read_package(path)).predict
    return predict


def open_executed(path: Path) -> Predict:
    """Run the package in Core ML, which only macOS has.

    Raises:
        InputError: Core ML does not take the package.
    """
    ct = need_coremltools()
    read_package(path)  # raises our own error for a missing or damaged package
    try:
        with quiet():
            model: Any = ct.models.MLModel(str(path))
    except Exception as error:  # Core ML's own come as RuntimeError or bare Exception
        raise InputError(f"{path} cannot be opened by Core ML ({str(error).splitlines()[0][:200]}); export it again") from error
    return lambda given: model.predict({key: as_core_ml(value) for key, value in given.items()})


def as_core_ml(value: np.ndarray) -> Any:
    """Convert pixels (1, 3, H, W) uint8 to the PIL image that coremltools expects; return other arrays unchanged."""
    if value.dtype != np.uint8:
        return value
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(value[0].transpose(1, 2, 0)))
