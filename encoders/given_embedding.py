"""Validation of embeddings, and the size of their photo, given by callers."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.contract import EMBED_DIM, STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape


def check_embedding(embedding: Tensor, *, image_size: int) -> Tensor:
    """Return the embedding of one image at S = `image_size` unchanged if it is valid.

    Raises:
        InputError: it is no floating-point tensor of (1, 256, S/16, S/16), or holds NaN or infinity.
    """
    side = image_size // STRIDE
    expected = (1, EMBED_DIM, side, side)
    if not isinstance(embedding, Tensor):
        raise InputError(f"embedding is a {type(embedding).__name__}; expected a torch tensor of {expected}")
    if tuple(embedding.shape) != expected or not embedding.is_floating_point():
        given = f"{tuple(embedding.shape)} {embedding.dtype}"
        raise InputError(
            f"embedding is {given}; image size {image_size} needs {side} x {side} positions: {expected} floating-point"
        )
    finite = torch.isfinite(embedding)
    if not finite.all():
        raise InputError(f"embedding holds {int((~finite).sum())} values that are NaN or infinite; it was stored damaged")
    return embedding


def check_shape(shape: Shape) -> Shape:
    """Return (height, width) unchanged if it is valid.

    Raises:
        InputError: it is no pair of positive whole numbers.
    """
    if not isinstance(shape, (tuple, list)) or len(shape) != 2 or not all(_is_side(side) for side in shape):
        raise InputError(f"shape is {shape!r}; expected (height, width) of the photo in pixels, two positive whole numbers")
    return int(shape[0]), int(shape[1])


def _is_side(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) > 0
