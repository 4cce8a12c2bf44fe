"""An image encoder on the photo's own aspect: what a padded square would give, without computing all of its padding."""

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.contract import STRIDE, check_image_size
from encoders.errors import InputError
from encoders.geometry import Shape, embedding_shape
from encoders.padding_row import Frame, act, check_known, repeat_last_row

MARGIN = 3  # embedding positions of padding beside the photo; docs/no_padding.md has what it costs and gives


def rectangle(shape: Shape, *, image_size: int) -> Shape:
    """(height, width) in pixels of the rectangle to encode a photo in: its own, and one embedding position of padding.

    Args:
        shape: (height, width) of the resized photo, its long side `image_size`.
        image_size: S in pixels.

    Returns:
        The photo's sides rounded up to multiples of 16, the short one with 16 px more, neither above S.
    """
    rows, columns = (min(image_size, (side + 1) * STRIDE) for side in embedding_shape(shape))
    return rows, columns


class UnpaddedEncoder(nn.Module):
    """A convolutional image encoder that takes rectangles and gives the embedding of the padded square.

    The padding beyond the rectangle is one row, see `padding_row`; in the embedding it fills the rest, so that decoders and
    stored embeddings see what they know. A square is encoded as ever.

    Args:
        encoder: (B, 3, S, S) -> (B, 256, S/16, S/16), a RepViT encoder in eval mode, fused or not; it is shared, not copied.
        image_size: S in pixels, a multiple of 64.
        margin: embedding positions of padding that are computed beside the photo, at least 1. More agrees better with the
            padded square and takes longer.

    Raises:
        InputError: a part of the encoder is not known to work like this; the message names its type. Or margin is below 1.
    """

    def __init__(self, encoder: nn.Module, *, image_size: int, margin: int = MARGIN) -> None:
        super().__init__()
        check_known(encoder)
        if margin < 1:
            raise InputError(f"a margin of {margin} positions was given; expected at least 1")
        self.image_size = check_image_size(image_size)
        self.margin = margin
        self.encoder = encoder
        self.train(encoder.training)

    def forward(self, image: Tensor) -> Tensor:
        """Encode rectangles.

        Args:
            image: (B, 3, h, w) float32, normalised; one side S, the other a multiple of 16 below or equal to S, with at least
                one position (16 px) of zeros after the photo, see `rectangle`.

        Returns:
            (B, 256, S/16, S/16).

        Raises:
            InputError: no side is S, or one is not a multiple of 16.
        """
        height, width = image.shape[-2:]
        size, side = self.image_size, self.image_size // STRIDE
        if max(height, width) != size or height % STRIDE or width % STRIDE:
            raise InputError(f"image is {height} x {width}; expected one side of {size}, the other a multiple of {STRIDE}")
        axis = 2 if height < size else 3
        positions = min(height, width) // STRIDE + self.margin - 1  # the rectangle holds one of the margin's
        if positions + 1 >= side:
            below, right = size - height, size - width
            embedding: Tensor = self.encoder(F.pad(image, (0, right, 0, below)) if below or right else image)
            return embedding
        image = F.pad(image, (0, 0, 0, 1) if axis == 2 else (0, 1))
        embedding = act(self.encoder, image, Frame(axis=axis, positions=side, more=self.margin - 1))
        return repeat_last_row(embedding, axis=axis, times=side - positions - 1)
