"""Teacher inference on a batch of stored photos."""

from collections.abc import Sequence

import numpy as np
import torch

from encoders.contract import EMBED_DIM, STRIDE
from encoders.errors import InputError
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.sam import Sam
from shards.cache.stored_photo import StoredPhoto


def embed(teacher: Sam, photos: Sequence[StoredPhoto]) -> np.ndarray:
    """Compute the (B, 256, S/16, S/16) float32 embeddings of stored photos; returned on the CPU.

    Raises:
        InputError: the teacher is in train mode, or its output shape does not match its image size.
    """
    if teacher.training:
        raise InputError("the teacher is in train mode, where BatchNorm gives other results; call teacher.eval() first")
    size = teacher.image_size
    frames = torch.stack([pad_to_square(photo.pixels, image_size=size) for photo in photos]).to(teacher.device)
    shapes = [(photo.pixels.shape[0], photo.pixels.shape[1]) for photo in photos]
    with torch.inference_mode():
        embeddings = teacher.image_encoder(normalize_padded(frames, shapes)).float().cpu().numpy()
    expected = (len(photos), EMBED_DIM, size // STRIDE, size // STRIDE)
    if embeddings.shape != expected:
        raise InputError(f"the teacher {teacher.arch} gives {embeddings.shape}, expected {expected}")
    return np.asarray(embeddings)
