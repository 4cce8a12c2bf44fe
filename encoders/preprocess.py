"""Batched preprocessing of uint8 pixels to the encoder's input, on any device.

Source: segment-anything, `modeling/sam.py` (`Sam.preprocess`): normalise, then pad with zeros right and below, so that
a padded pixel is exactly 0 (the mean), not black.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from encoders.contract import PIXEL_MEAN, PIXEL_STD, STRIDE
from encoders.geometry import Shape, embedding_shape


def normalize_padded(pixels: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """Normalise a batch whose images lie at the top left of equal frames.

    Args:
        pixels: (B, 3, S, S), or of other sides, uint8 or float RGB, 0-255; what lies outside an image's shape is ignored.
        shapes: (height, width) of each image inside its frame.

    Returns:
        As many pixels, float32, exactly 0 outside each image.
    """
    mean = torch.tensor(PIXEL_MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=pixels.device).view(3, 1, 1)
    out = (pixels.float() - mean) / std
    for image, (height, width) in zip(out, shapes, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return out


def pad_to_square(image: np.ndarray, *, image_size: int) -> Tensor:
    """(h, w, 3) uint8 with h, w <= S -> (3, S, S) uint8 tensor, the image at the top left, 0 elsewhere."""
    return pad_to(image, shape=(image_size, image_size))


def pad_to(image: np.ndarray, *, shape: Shape) -> Tensor:
    """(h, w, 3) uint8 -> (3, *shape) uint8 tensor, `shape` at least (h, w), the image at the top left, 0 elsewhere."""
    height, width = image.shape[:2]
    frame = torch.zeros(3, *shape, dtype=torch.uint8)
    frame[:, :height, :width] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return frame


def valid_positions(shapes: Sequence[Shape], *, image_size: int, device: torch.device | str = "cpu") -> Tensor:
    """(B, 1, S/16, S/16) bool: True where an embedding position sees the image, False on padding."""
    side = image_size // STRIDE
    valid = torch.zeros(len(shapes), 1, side, side, dtype=torch.bool, device=device)
    for mask, shape in zip(valid, shapes, strict=True):
        rows, columns = embedding_shape(shape)
        mask[:, :rows, :columns] = True
    return valid
