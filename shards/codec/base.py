"""The codec interface: encoding to bytes, parsing in workers and dequantising on the device."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from encoders.errors import InputError

Payload = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Coded:
    """A parsed embedding: workers pass it on as integers, and the device dequantises it.

    Attributes:
        codec: registry name.
        codes: (planes, rows, columns) numpy array; planes and dtype depend on the codec. Batches pad it right and below.
        scales: (C, numbers) float32; the meaning of a channel's numbers depends on the codec.
    """

    codec: str
    codes: np.ndarray
    scales: np.ndarray

    @property
    def channels(self) -> int:
        """The number of channels C; it differs from the number of planes if several codes share a byte."""
        return len(self.scales)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Minimum fidelity, measured by `shards.codec.fidelity`, that a codec must reach to be used for training.

    Attributes:
        mask_iou: minimum mean IoU between masks decoded from the raw and from the coded embedding.
        relative_mse: maximum squared error as a share of the embedding's energy.
        instead: registry name of the codec to use if this one fails; None for the most exact one.
    """

    mask_iou: float
    relative_mse: float
    instead: str | None


class Codec(Protocol):
    """One way to store an embedding.

    Attributes:
        name: registry name.
        version: changes when old payloads would be read differently.
        encoder: counts the ways in which this version has been encoded: changes when an embedding gets other bytes, which are
            read as before. No record holds it.
        gate: what it must reach.
    """

    name: str
    version: int
    encoder: int
    gate: Gate

    def encode(self, embedding: np.ndarray) -> bytes:
        """(C, rows, columns) float32, finite -> payload."""

    def parse(self, payload: Payload, shape: tuple[int, int, int]) -> Coded:
        """Payload -> codes and scales; no float arithmetic. Raises InputError if the payload has the wrong size."""

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        """(B, planes, h, w) codes and (B, C, numbers) scales, on any device -> (B, C, h, w) float32.

        Codes padded with zeros right and below give the same values outside the padding; values on the padding are
        finite, and the caller has to clear them.
        """


def array_from(payload: Payload, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """View bytes as an array without copying; torch warns if the memory is read-only."""
    expected = np.dtype(dtype).itemsize * int(np.prod(shape))
    if len(payload) != expected:
        raise InputError(f"the embedding record has {len(payload)} bytes of codes where {shape} needs {expected}")
    return np.frombuffer(payload, dtype).reshape(shape)
