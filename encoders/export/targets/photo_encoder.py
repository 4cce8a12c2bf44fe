"""An image encoder that takes whole photos, for tools that neither normalise nor pad."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.export.modules.pixel_encoder import to_pixels

MAX_SIDE = 16384  # largest side of a photo, in pixels


class PhotoEncoder(nn.Module):
    """Resize the long side to S, normalise, pad right and below with zeros, encode.

    Source: segment-anything, `utils/transforms.py` (`ResizeLongestSide`) and `modeling/sam.py` (`Sam.preprocess`).

    Args:
        encoder: (1, 3, S, S) normalised -> (1, 256, S/16, S/16).
        image_size: S in pixels.
        channels_last: True takes (H, W, 3) float32, False (1, 3, H, W) uint8; RGB, 0-255.
        trim: treat black columns at the right edge and black rows at the lower edge, which a tool adds, as padding. Otherwise
            they are normalised to about -2, where SAM pads with 0; sam_demo's masks hardly change (docs/export_tools.md).
    """

    def __init__(self, encoder: nn.Module, *, image_size: int, channels_last: bool, trim: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.image_size = image_size
        self.channels_last = channels_last
        self.trim = trim
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1))
        self.eval()

    def forward(self, photo: Tensor) -> Tensor:
        """Encode a photo -> (1, 256, S/16, S/16)."""
        pixels = photo.permute(2, 0, 1).unsqueeze(0) if self.channels_last else photo.float()
        image = (pixels - self.mean) / self.std
        if self.trim:
            image = image * not_black_border(pixels)
        size = self.image_size
        rows, columns = resized(image.shape[2], image.shape[3], size=size)
        image = F.interpolate(image, size=(rows, columns), mode="bilinear", antialias=True)
        embedding: Tensor = self.encoder(F.pad(image, (0, size - columns, 0, size - rows)))
        return embedding

    def example(self) -> Tensor:
        """Return a photo to export with: wider than high, with sides that occur nowhere else in the graph."""
        height, width = self.image_size // 2 + 3, self.image_size - 5
        if self.channels_last:
            return torch.zeros(height, width, 3)
        return torch.zeros(1, 3, height, width, dtype=torch.uint8)

    def dynamic_shapes(self) -> tuple[dict[int, object]]:
        """Return the axes of the photo that can have any size, for `torch.export`."""
        height, width = (torch.export.Dim(name, min=2, max=MAX_SIDE) for name in ("image_height", "image_width"))
        return ({0: height, 1: width} if self.channels_last else {2: height, 3: width},)


def resized(height: Any, width: Any, *, size: int) -> tuple[Any, Any]:
    """Return height and width of a photo scaled to long side `size`, rounded half up; numbers or symbols of a graph."""
    longest = torch.sym_max(height, width)
    sides = ((2 * side * size + longest) // (2 * longest) for side in (height, width))
    rows, columns = (torch.sym_max(1, side) for side in sides)
    return rows, columns


def not_black_border(pixels: Tensor) -> Tensor:
    """(1, 3, H, W) -> (1, 1, H, W) float32: 0 in black rows at the bottom and black columns at the right, 1 elsewhere."""
    seen = pixels.amax(dim=(0, 1)) > 0
    rows = torch.arange(pixels.shape[2], device=pixels.device)
    columns = torch.arange(pixels.shape[3], device=pixels.device)
    last_row = (rows * seen.any(dim=1)).amax(dim=0)
    last_column = (columns * seen.any(dim=0)).amax(dim=0)
    inside = (rows <= last_row).float().unsqueeze(1) * (columns <= last_column).float().unsqueeze(0)
    return inside.unsqueeze(0).unsqueeze(0)


def photo_of(image: np.ndarray) -> np.ndarray:
    """Return the photo in a frame of the embedding contract, without its padding.

    Args:
        image: (1, 3, S, S) float32, normalised, exactly 0 on padding; no pixel of a photo is exactly 0.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    seen = (image[0] != 0).any(axis=0)
    height, width = (int(np.flatnonzero(seen.any(axis=axis))[-1]) + 1 for axis in (1, 0))
    pixels = to_pixels(torch.from_numpy(image))[0, :, :height, :width]
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
