"""Image encoding at the photo's own aspect ratio, close to the padded square's embedding but without most of its padding."""

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.contract import STRIDE, check_image_size
from encoders.errors import InputError
from encoders.geometry import Shape, embedding_shape
from encoders.image_encoders.padding_row import Frame, act, check_known, repeat_last_row

MARGIN = 3  # embedding positions of padding beside the photo; docs/no_padding.md has its time and accuracy


def rectangle(shape: Shape, *, image_size: int) -> Shape:
    """Size of the rectangle in which a photo is encoded: the photo and one embedding position of padding.

    Args:
        shape: (height, width) of the resized photo, its long side `image_size`.
        image_size: S in pixels.

    Returns:
        (height, width) in pixels: each side rounded up to a multiple of 16, plus 16, but at most S.
    """
    rows, columns = (min(image_size, (side + 1) * STRIDE) for side in embedding_shape(shape))
    return rows, columns


class UnpaddedEncoder(nn.Module):
    """A convolutional image encoder that takes rectangles and returns embeddings of the padded square's shape.

    One row, see `padding_row`, represents the padding beyond the rectangle and is repeated to fill the embedding, so that
    decoders work unchanged. Where rectangle and margin fill the square, the encoder itself is called on the square.

    Args:
        encoder: (B, 3, S, S) -> (B, 256, S/16, S/16), a RepViT encoder in eval mode, fused or not. It is shared, not copied,
            and its parts keep the mode, train or eval, that they are in.
        image_size: S in pixels, a multiple of 64.
        margin: embedding positions of padding that are computed beside the photo, at least 1. A larger margin comes closer
            to the padded square's embedding and takes longer.

    Raises:
        InputError: a part of the encoder is of a type or has settings that `padding_row` does not support, or margin is
            below 1.
    """

    def __init__(self, encoder: nn.Module, *, image_size: int, margin: int = MARGIN) -> None:
        super().__init__()
        check_known(encoder)
        if margin < 1:
            raise InputError(f"a margin of {margin} positions was given; expected at least 1")
        self.image_size = check_image_size(image_size)
        self.margin = margin
        self.encoder = encoder
        self.training = encoder.training  # not self.train(), which would change the mode of the shared encoder's parts

    def forward(self, image: Tensor) -> Tensor:
        """Encode rectangles.

        Args:
            image: (B, 3, h, w) float32, normalised; one side is S, the other a multiple of 16 of at most S. At least 16 px
                of zeros follow the photo along the shorter side, see `rectangle`.

        Returns:
            (B, 256, S/16, S/16).

        Raises:
            InputError: the longer side is not S, or a side is not a multiple of 16.
        """
        height, width = image.shape[-2:]
        size, side = self.image_size, self.image_size // STRIDE
        if max(height, width) != size or height % STRIDE or width % STRIDE:
            raise InputError(
                f"image is {height} x {width}; expected one side of {size} and the other a multiple of {STRIDE} of at most "
                f"{size}; see encoders.image_encoders.unpadded.rectangle"
            )
        axis = 2 if height < size else 3
        positions = min(height, width) // STRIDE + self.margin - 1  # the rectangle already holds one position of the margin
        if positions + 1 >= side:
            below, right = size - height, size - width
            embedding: Tensor = self.encoder(F.pad(image, (0, right, 0, below)) if below or right else image)
            return embedding
        image = F.pad(image, (0, 0, 0, 1) if axis == 2 else (0, 1))
        embedding = act(self.encoder, image, Frame(axis=axis, positions=side, more=self.margin - 1))
        return repeat_last_row(embedding, axis=axis, times=side - positions - 1)
