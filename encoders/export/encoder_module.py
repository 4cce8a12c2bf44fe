"""The image encoder as exporters take it: from the embedding contract's image, or from pixels."""

import torch
from torch import Tensor, nn

from encoders.contract import PIXEL_MEAN, PIXEL_STD

PAD_COLOUR = tuple(round(value) for value in PIXEL_MEAN)  # RGB, 0-255: what normalises to (almost) SAM's zero padding


class PixelEncoder(nn.Module):
    """An image encoder that normalises by itself.

    Padding must be of `PAD_COLOUR`: black pads with -2.1 where SAM pads with 0, and masks then agree to 0.95 only.

    Args:
        encoder: (B, 3, S, S) normalised -> (B, 256, S/16, S/16).
        scale: what a pixel is multiplied by to lie in 0-255; 255 for inputs in [0, 1].
    """

    def __init__(self, encoder: nn.Module, *, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean: Tensor
        self.factor: Tensor
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1) / scale)
        self.register_buffer("factor", scale / torch.tensor(PIXEL_STD).view(1, 3, 1, 1))
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) float32 RGB, padded right and below with `PAD_COLOUR` -> (B, 256, S/16, S/16)."""
        embedding: Tensor = self.encoder((image - self.mean) * self.factor)
        return embedding


def to_pixels(image: Tensor) -> Tensor:
    """The contract's normalised, zero-padded image back to whole pixels, padded with `PAD_COLOUR`.

    Args:
        image: (B, 3, S, S) float32, made from uint8 pixels.

    Returns:
        (B, 3, S, S) uint8 RGB.
    """
    mean = torch.tensor(PIXEL_MEAN, device=image.device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=image.device).view(3, 1, 1)
    return (image * std + mean).round().clamp(0, 255).to(torch.uint8)
