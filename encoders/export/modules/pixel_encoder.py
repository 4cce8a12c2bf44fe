"""Exportable image encoder modules that take the embedding contract's input or raw pixels."""

import torch
from torch import Tensor, nn

from encoders.contract import PIXEL_MEAN, PIXEL_STD

PAD_COLOUR = tuple(round(value) for value in PIXEL_MEAN)  # RGB, 0-255: what normalises to (almost) SAM's zero padding


class PixelEncoder(nn.Module):
    """An image encoder that normalises by itself, and turns pixels of exactly `PAD_COLOUR` into SAM's zeros.

    Padding must be of `PAD_COLOUR`: black pads with -2.1 where SAM pads with 0, and masks then agree to 0.95 only. The mean
    itself is no whole colour; left at that, padding of up to 0.008 moves embeddings as far as fp16 does.

    Args:
        encoder: (B, 3, S, S) normalised -> (B, 256, S/16, S/16).
        scale: what a pixel is multiplied by to lie in 0-255; 255 for inputs in [0, 1].
    """

    def __init__(self, encoder: nn.Module, *, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale = scale
        self.padding: Tensor
        self.factor: Tensor
        self.offset: Tensor
        mean, std, padding = (torch.tensor(values).view(1, 3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD, PAD_COLOUR))
        self.register_buffer("padding", padding / scale)
        self.register_buffer("factor", scale / std)
        self.register_buffer("offset", (padding - mean) / std)
        self.training = encoder.training

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) float32 RGB, padded right and below with `PAD_COLOUR` -> (B, 256, S/16, S/16)."""
        difference = image - self.padding
        inside = (difference.abs().sum(1, keepdim=True) * self.scale).clamp(max=1)  # 0 on padding; no comparison, on any device
        embedding: Tensor = self.encoder(difference * self.factor + inside * self.offset)
        return embedding


def to_pixels(image: Tensor) -> Tensor:
    """Convert the contract's normalised, zero-padded image back to integer pixels, padded with `PAD_COLOUR`.

    Args:
        image: (B, 3, S, S) float32, made from uint8 pixels.

    Returns:
        (B, 3, S, S) uint8 RGB.
    """
    mean = torch.tensor(PIXEL_MEAN, device=image.device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=image.device).view(3, 1, 1)
    return (image * std + mean).round().clamp(0, 255).to(torch.uint8)
