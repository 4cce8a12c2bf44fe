"""What a codec is: the seam between bytes on disk, what a worker hands over, and floats on the device."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from encoders.errors import InputError

Payload = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Coded:
    """An embedding as stored: what a worker hands over, and the device turns into floats.

    Attributes:
        codec: registry name.
        codes: (planes, rows, columns) numpy array; planes and dtype are the codec's own. Batches pad it right and below.
        scales: (C, numbers) float32; what the numbers of a channel mean is the codec's own.
    """

    codec: str
    codes: np.ndarray
    scales: np.ndarray

    @property
    def channels(self) -> int:
        """C, which is not the number of planes where several codes share a byte."""
        return len(self.scales)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a codec must keep of an embedding, measured by `shards.codec.fidelity`, to be worth training on.

    Attributes:
        mask_iou: least mean IoU between masks decoded from the raw and from the coded embedding.
        relative_mse: largest share of the embedding's energy that may be error.
        instead: registry name of the codec to take where the gate is missed; None for the most exact one.
    """

    mask_iou: float
    relative_mse: float
    instead: str | None


class Codec(Protocol):
    """One way to store an embedding. `version` changes when old payloads would be read differently."""

    name: str
    version: int
    gate: Gate

    def encode(self, embedding: np.ndarray) -> bytes:
        """(C, rows, columns) float32, finite -> payload."""

    def parse(self, payload: Payload, shape: tuple[int, int, int]) -> Coded:
        """Payload -> codes and scales; no float arithmetic. Raises InputError where the payload's size is wrong."""

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        """(B, planes, h, w) codes and (B, C, numbers) scales, on any device -> (B, C, h, w) float32.

        Codes padded with zeros right and below give the same values where they were not padded; what stands on the
        padding is finite, and the caller's to clear.
        """


def array_from(payload: Payload, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes as an array over the same memory; torch warns about it where that cannot be written to."""
    expected = np.dtype(dtype).itemsize * int(np.prod(shape))
    if len(payload) != expected:
        raise InputError(f"the embedding record has {len(payload)} bytes of codes where {shape} needs {expected}")
    return np.frombuffer(payload, dtype).reshape(shape)
