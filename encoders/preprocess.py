"""Batched preprocessing of uint8 pixels to the encoder's input, on any device.

Source: segment-anything, `modeling/sam.py` (`Sam.preprocess`): normalise, then pad with zeros right and below, so that
a padded pixel is exactly 0 (the mean), not black.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from encoders.contract import PIXEL_MEAN, PIXEL_STD, STRIDE
from encoders.geometry import Shape


def normalize_padded(pixels: Tensor, shapes: Sequence[Shape] | Tensor) -> Tensor:
    """Normalise a batch whose images lie at the top left of equal frames, without waiting for the device.

    Args:
        pixels: (B, 3, S, S), or of other sides, uint8 or float RGB, 0-255; what lies outside an image's shape is ignored.
        shapes: (height, width) of each image inside its frame; or (B, 2) integers on the device of `pixels`.

    Returns:
        As many pixels, float32, exactly 0 outside each image; in the memory format of `pixels`.
    """
    sizes = sizes_on(shapes, device=pixels.device)
    mean, std = _pixel_statistics(pixels.device)
    rows, columns = (torch.arange(side, device=pixels.device) for side in pixels.shape[2:])
    outside = (rows >= sizes[:, :1])[:, None, :, None] | (columns >= sizes[:, 1:])[:, None, None, :]
    return (pixels - mean).div_(std).masked_fill_(outside, 0)


def sizes_on(shapes: Sequence[Shape] | Tensor, *, device: torch.device | str) -> Tensor:
    """Return the (height, width) of B images as (B, 2) int64 on a device; a tensor that is there already, unchanged."""
    if isinstance(shapes, Tensor):
        return shapes.to(device, non_blocking=True)
    return torch.tensor([list(shape) for shape in shapes], dtype=torch.int64).reshape(-1, 2).to(device)


@cache
def _pixel_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of RGB values, (3, 1, 1) each, copied to a device once."""
    with torch.inference_mode(False):  # so that autograd may use them too
        mean, std = (torch.tensor(values).view(3, 1, 1).to(device) for values in (PIXEL_MEAN, PIXEL_STD))
    return mean, std


def pad_to_square(image: np.ndarray, *, image_size: int) -> Tensor:
    """(h, w, 3) uint8 with h, w <= S -> (3, S, S) uint8 tensor, the image at the top left, 0 elsewhere."""
    return pad_to(image, shape=(image_size, image_size))


def pad_to(image: np.ndarray, *, shape: Shape) -> Tensor:
    """(h, w, 3) uint8 -> (3, *shape) uint8 tensor, `shape` at least (h, w), the image at the top left, 0 elsewhere."""
    height, width = image.shape[:2]
    frame = torch.zeros(3, *shape, dtype=torch.uint8)
    frame[:, :height, :width] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return frame


def valid_positions(
    shapes: Sequence[Shape] | Tensor, *, image_size: int, device: torch.device | str = "cpu"
) -> Tensor:
    """(B, 1, S/16, S/16) bool: True where an embedding position sees the image, False on padding.

    Args:
        shapes: (height, width) of each image, see `normalize_padded`.
    """
    sizes = sizes_on(shapes, device=device)
    starts = torch.arange(0, image_size, STRIDE, device=device)
    return (starts < sizes[:, :1])[:, None, :, None] & (starts < sizes[:, 1:])[:, None, None, :]
