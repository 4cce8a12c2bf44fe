"""Weights stored in fewer bits than they are computed with, for a smaller file; runtimes turn them back into fp32 at loading.

Only large dense weights are worth it. Depthwise kernels and other small weights hold a few per cent of the bytes and cause
most of the error: with every weight in 8 bits sam_demo's masks agreed to 0.977 (lowest 0.67), with the small ones left alone
to 0.994 (0.96).
"""

from dataclasses import dataclass

import numpy as np

DECODER_PRECISION = {"int8": "fp16"}  # with 8 bits the decoder's masks only agreed to 0.95 to 0.97
MIN_VALUES = {"fp16": 8192, "int8": 32768}  # of a weight stored in this type; measured on RepViT, TinyViT and sam_demo


@dataclass(frozen=True, kw_only=True)
class EightBits:
    """A weight stored as 8-bit values; it equals `(values - zero) * scale`.

    Attributes:
        values: uint8, same shape as the weight.
        scale: float32, zero: uint8; one for each output channel, in a shape that broadcasts.
    """

    values: np.ndarray
    scale: np.ndarray
    zero: np.ndarray

    def restored(self) -> np.ndarray:
        """Return the float32 weight that a runtime computes with."""
        return (self.values.astype(np.float32) - self.zero.astype(np.float32)) * self.scale


def stored_as(weight: np.ndarray, *, precision: str, depthwise: bool) -> str:
    """Return how a weight is stored for `precision`: "fp32", "fp16" or "int8"; with int8, mid-sized weights are fp16."""
    if precision == "fp32" or weight.dtype != np.float32 or weight.ndim < 2 or depthwise:
        return "fp32"
    if precision == "int8" and weight.size >= MIN_VALUES["int8"]:
        return "int8"
    fits = float(np.abs(weight).max(initial=0)) < float(np.finfo(np.float16).max)
    return "fp16" if fits and weight.size >= MIN_VALUES["fp16"] else "fp32"


def to_eight_bits(weight: np.ndarray, *, channel_axis: int) -> EightBits:
    """Round a weight to 256 equal steps from each output channel's lowest value to its highest, of which zero is one.

    Args:
        weight: float32; channel_axis: the weight's axis of output channels.
    """
    others = tuple(axis for axis in range(weight.ndim) if axis != channel_axis % weight.ndim)
    low = np.minimum(weight.min(axis=others, keepdims=True), 0)
    high = np.maximum(weight.max(axis=others, keepdims=True), 0)
    scale = np.maximum((high - low) / 255, np.finfo(np.float32).tiny).astype(np.float32)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    values = np.clip(np.rint(weight / scale) + zero, 0, 255)
    return EightBits(values=values.astype(np.uint8), scale=scale, zero=zero.astype(np.uint8))
