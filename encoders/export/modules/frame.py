"""Fixed rectangular input, instead of the padded square, for encoders exported for a single aspect ratio.

Exported shapes are fixed, so an export without padding is for one aspect; `encoders.image_encoders.unpadded` says what it saves
and costs.
"""

import copy
import re

from torch import Tensor, nn

from encoders.contract import STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, resized_shape
from encoders.image_encoders.unpadded import UnpaddedEncoder, rectangle
from encoders.sam import Sam

MAX_SIDE = 10_000  # of an aspect's two numbers


def parse_aspect(text: str) -> Shape:
    """Parse "WIDTH:HEIGHT" to (height, width), e.g. "3:2" -> (2, 3).

    Raises:
        InputError: `text` is not an aspect ratio.
    """
    found = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", text)
    width, height = (int(side) for side in found.groups()) if found else (0, 0)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise InputError(f"{text!r} is not an aspect ratio; expected width:height, e.g. 3:2, or 2:3 for portraits")
    return height, width


def frame_of(aspect: Shape, *, image_size: int) -> Shape:
    """Return (height, width) in pixels of the rectangle for an aspect ratio, with long side S.

    Args:
        aspect: (height, width) in any unit.
        image_size: S in pixels.
    """
    return rectangle(resized_shape(aspect, image_size=image_size), image_size=image_size)


def fits(shape: Shape, *, frame: Shape, image_size: int) -> bool:
    """Return whether a photo of `shape` (height, width) fits a frame, with one embedding position of padding."""
    needed = rectangle(resized_shape(shape, image_size=image_size), image_size=image_size)
    return all(side <= room for side, room in zip(needed, frame, strict=True))


def crop(image: Tensor, *, frame: Shape) -> Tensor:
    """Crop padded squares to a frame.

    Args:
        image: (B, 3, S, S) float32, normalised, then padded right and below with zeros.
        frame: (height, width) in pixels.

    Returns:
        (B, 3, height, width).

    Raises:
        InputError: a photo reaches beyond the frame, or into its last 16 px, which must be padding.
    """
    height, width = frame
    size = image.shape[-1]
    rows, columns = (side if side == size else side - STRIDE for side in frame)
    if image[..., rows:, :].any() or image[..., columns:].any():
        raise InputError(
            f"this model was exported for photos of up to {columns} x {rows} pixels, once their long side is {size}; this one "
            "does not fit. Export with another --aspect, or without one"
        )
    return image[..., :height, :width]


class FramedEncoder(nn.Module):
    """An image encoder for rectangles of one size; padded squares are cropped to that rectangle.

    Args:
        encoder: (B, 3, S, S) -> (B, 256, S/16, S/16), a RepViT encoder in eval mode, fused or not; it is shared, not copied.
        frame: (height, width) in pixels, see `frame_of`.
        image_size: S in pixels.

    Raises:
        InputError: the encoder cannot do without padding; the message names the part that cannot.
    """

    def __init__(self, encoder: nn.Module, *, frame: Shape, image_size: int) -> None:
        super().__init__()
        self.frame = frame
        self.unpadded = UnpaddedEncoder(encoder, image_size=image_size)
        self.training = encoder.training  # of this module alone: `train` would reach into the shared encoder

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, height, width) of the frame, or (B, 3, S, S) padded -> (B, 256, S/16, S/16)."""
        if tuple(image.shape[-2:]) != self.frame:
            image = crop(image, frame=self.frame)
        embedding: Tensor = self.unpadded(image)
        return embedding


def framed(sam: Sam, *, frame: Shape) -> Sam:
    """Return a copy of a model whose encoder takes rectangles.

    Raises:
        InputError: as `FramedEncoder`.
    """
    changed = copy.deepcopy(sam)
    changed.image_encoder = FramedEncoder(changed.image_encoder, frame=frame, image_size=sam.image_size)
    return changed


def input_shape(sam: Sam) -> tuple[int, int, int, int]:
    """Return the input shape (1, 3, height, width) that a model's encoder is exported for."""
    encoder = sam.image_encoder
    height, width = encoder.frame if isinstance(encoder, FramedEncoder) else (sam.image_size, sam.image_size)
    return 1, 3, height, width
