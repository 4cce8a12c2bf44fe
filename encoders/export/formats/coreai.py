"""Core AI, Apple's newer format: `encoder.aimodel` by the embedding contract, `decoder.aimodel` by `PromptDecoder`'s.

Source: Apple's coreai-torch (README) and coreai-core (`AIModelAsset.executable`).
"""

import copy
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoders.contract import EMBED_DIM, MASK_STRIDE, STRIDE
from encoders.errors import MissingExtra
from encoders.export.formats.base import CALLER_NORMALISES, POINTS, How, no_mask_input
from encoders.export.formats.coreai_asset import EXTRA, PACKAGE, SUFFIX, Asset, write_asset
from encoders.export.formats.sam_contract import MAX_POINTS, MAX_PROMPTS
from encoders.export.modules.exportable import exportable
from encoders.export.modules.frame import input_shape
from encoders.export.modules.prompt_decoder import PromptDecoder
from encoders.sam import Sam

ENCODER, DECODER = f"encoder{SUFFIX}", f"decoder{SUFFIX}"
DECODER_INPUTS = ("image_embeddings", "point_coords", "point_labels")
DECODER_OUTPUTS = ("low_res_masks", "iou_predictions")

ENCODES = (
    "image (1, 3, {height}, {width}) float32: RGB of the photo resized to a long side of {size}, minus "
    "(123.675, 116.28, 103.53), divided by (58.395, 57.12, 57.375), then padded right and below with zeros -> "
    "image_embeddings (1, 256, {side}, {side})."
)
DECODES = (
    "image_embeddings (1, 256, {side}, {side}) float32, point_coords (P, N, 2) float32 xy in pixels of the encoder's input, "
    "point_labels (P, N) int32: 1 foreground, 0 background, 2 and 3 top left and bottom right corner of a box, -1 padding; a "
    "prompt without a box ends with one padding point at (0, 0), and more of them change the answer -> low_res_masks "
    "(P, 4, {mask}, {mask}) logits, the single mask first, and iou_predictions (P, 4)."
)


class CoreAiFormat:
    """Two assets, float32 in and out.

    The decoder takes any number of prompts and points, because padding them to a fixed number would change SAM's answer.
    The encoder's shapes are fixed.

    fp16 applies to the encoder's weights and arithmetic alone. With a RepViT-M0.6 student of 256 px (5 photos, coreai-core
    1.0.0b3 on Linux), a decoder in fp16, except for the positions of points, reached a mask IoU of 0.9963; the encoder
    reached 0.9990. Even so, that student fell just below the certificate's lowest IoU (0.9888 instead of 0.99, 20 photos)
    and was not written.
    """

    name = "coreai"
    format = "coreai"
    extra = EXTRA
    precisions: tuple[str, ...] = ("fp32", "fp16")
    padding = CALLER_NORMALISES
    points = POINTS
    takes_masks = False
    elsewhere: tuple[str, ...] = () if sys.platform == "darwin" else ("Core AI on macOS and iOS",)

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        size = sam.image_size
        _, _, height, width = input_shape(sam)
        names = {"size": size, "height": height, "width": width, "side": size // STRIDE, "mask": size // MASK_STRIDE}
        encoder = exportable(sam.image_encoder)
        write_asset(
            HalfEncoder(encoder) if precision == "fp16" else encoder,
            folder / ENCODER,
            example=(torch.zeros(input_shape(sam)),),
            inputs=("image",),
            outputs=("image_embeddings",),
            description=ENCODES.format(**names),
        )
        prompts = torch.export.Dim("prompts", min=1, max=MAX_PROMPTS)
        points = torch.export.Dim("points", min=1, max=MAX_POINTS)
        any_number: Any = {0: prompts, 1: points}
        write_asset(
            PromptDecoder(sam),
            folder / DECODER,
            example=(
                torch.zeros(1, EMBED_DIM, size // STRIDE, size // STRIDE),
                torch.zeros(2, 3, 2),
                torch.ones(2, 3, dtype=torch.int32),
            ),
            inputs=DECODER_INPUTS,
            outputs=DECODER_OUTPUTS,
            description=DECODES.format(**names),
            dynamic_shapes=({}, any_number, any_number),
        )

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "CoreAiRuntime":
        """See `Format.open`. Core AI chooses the number of threads itself."""
        return CoreAiRuntime(folder / ENCODER, folder / DECODER, precision=precision)


class CoreAiRuntime:
    """Core AI's own runtime; on Linux and in older versions of macOS it is the one inside coreai-core, on the CPU.

    Raises:
        MissingExtra: coreai-core is not installed.
        InputError: an asset is missing or damaged.
    """

    how: How = "executed"

    def __init__(self, encoder: Path, decoder: Path, *, precision: str) -> None:
        self.name = f"Core AI {core_version()}"
        self.precision = precision
        self._encoder, self._decoder = Asset(encoder), Asset(decoder)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`."""
        return self._encoder(image=image)["image_embeddings"]

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`."""
        no_mask_input(masks)
        given = (embedding, coords.astype(np.float32), labels.astype(np.int32))
        found = self._decoder(**dict(zip(DECODER_INPUTS, given, strict=True)))
        return found["low_res_masks"], found["iou_predictions"]


class HalfEncoder(nn.Module):
    """An image encoder in fp16 between a float32 image and a float32 embedding.

    Args:
        encoder: the encoder; it is copied.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).half()
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) float32 -> (B, 256, S/16, S/16) float32."""
        embedding: Tensor = self.encoder(image.half())
        return embedding.float()


def core_version() -> str:
    """Return the version of coreai-core.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.metadata.version("coreai-core")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(PACKAGE, extra=EXTRA) from error
