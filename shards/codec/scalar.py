"""Codecs that store each value separately: half precision, and 8 bits with one scale per channel."""

import numpy as np
import torch
from torch import Tensor

from encoders.errors import InputError
from shards.codec.base import Coded, Gate, Payload, array_from


class Float16Codec:
    """Half precision: 2 bytes a value, relative error at most 2**-11."""

    name = "fp16"
    version = 1
    encoder = 1
    gate = Gate(mask_iou=0.99, relative_mse=1e-5, instead=None)

    def encode(self, embedding: np.ndarray) -> bytes:
        limit = float(np.finfo(np.float16).max)
        if np.abs(embedding).max(initial=0) > limit:
            peak = np.abs(embedding).max()
            raise InputError(f"the embedding reaches {peak:.3g}, fp16 holds at most {limit:.0f}; use int8")
        return embedding.astype("<f2").tobytes()

    def parse(self, payload: Payload, shape: tuple[int, int, int]) -> Coded:
        return Coded(self.name, array_from(payload, "<f2", shape), np.ones((shape[0], 1), np.float32))

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        return codes.float()


class Int8Codec:
    """Symmetric 8-bit quantisation with one scale per channel over the stored positions; error at most half a scale.

    Payload: C scales float32, then the codes int8 in order of channel, row, column.
    """

    name = "int8"
    version = 1
    encoder = 1
    gate = Gate(mask_iou=0.99, relative_mse=5e-4, instead="fp16")

    def encode(self, embedding: np.ndarray) -> bytes:
        scales = (np.abs(embedding).max(axis=(1, 2), initial=0) / 127).astype("<f4")
        units = embedding / np.where(scales > 0, scales, 1)[:, None, None]
        np.rint(units, out=units)
        codes = np.clip(units, -127, 127, out=units).astype(np.int8)
        return scales.tobytes() + codes.tobytes()

    def parse(self, payload: Payload, shape: tuple[int, int, int]) -> Coded:
        split = 4 * shape[0]
        return Coded(self.name, array_from(payload[split:], "i1", shape), array_from(payload[:split], "<f4", (shape[0], 1)))

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        return torch.mul(codes.float(), scales[..., None])
