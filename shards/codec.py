"""Embeddings to bytes and back. A record says itself how it is to be read: codec, version, shape, scales, checksum.

Layout, little endian: magic "RVSE", record version u8, codec version u8, codec name 10 bytes, channels, rows, columns
u16 each, crc32 of the payload u32; then the payload. Rows and columns that see only padding are never stored.
"""

import difflib
import struct
import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.contract import STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, embedding_shape

MAGIC = b"RVSE"
RECORD_VERSION = 1
HEADER = struct.Struct("<4sBB10sHHHI")


@dataclass(frozen=True)
class Coded:
    """An embedding as stored: what a worker hands over, and the device turns into floats.

    Attributes:
        codec: registry name.
        codes: (C, rows, columns) numpy array; its dtype is the codec's.
        scales: (C,) float32.
    """

    codec: str
    codes: np.ndarray
    scales: np.ndarray


class Codec(Protocol):
    """One way to store an embedding. `version` changes when old payloads would be read differently."""

    name: str
    version: int

    def encode(self, embedding: np.ndarray) -> bytes:
        """(C, rows, columns) float32, finite -> payload."""

    def parse(self, payload: bytes, shape: tuple[int, int, int]) -> Coded:
        """Payload -> codes and scales; no float arithmetic. Raises InputError where the payload's size is wrong."""

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        """(B, C, ...) codes and (B, C) scales, on any device -> (B, C, side, side) float32; zero codes give 0."""


class Float16Codec:
    """Half precision: 2 bytes a value, relative error at most 2**-11."""

    name = "fp16"
    version = 1

    def encode(self, embedding: np.ndarray) -> bytes:
        limit = float(np.finfo(np.float16).max)
        if np.abs(embedding).max(initial=0) > limit:
            peak = np.abs(embedding).max()
            raise InputError(f"the embedding reaches {peak:.3g}, fp16 holds at most {limit:.0f}; use int8")
        return embedding.astype("<f2").tobytes()

    def parse(self, payload: bytes, shape: tuple[int, int, int]) -> Coded:
        codes = _array(payload, "<f2", shape)
        return Coded(self.name, codes, np.ones(shape[0], np.float32))

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        return codes.float()


class Int8Codec:
    """Symmetric 8 bit with one scale a channel, over the kept positions: error at most half a scale."""

    name = "int8"
    version = 1

    def encode(self, embedding: np.ndarray) -> bytes:
        scales = (np.abs(embedding).max(axis=(1, 2), initial=0) / 127).astype("<f4")
        divisors = np.where(scales > 0, scales, 1)[:, None, None]
        codes = np.rint(embedding / divisors).clip(-127, 127).astype(np.int8)
        return scales.tobytes() + codes.tobytes()

    def parse(self, payload: bytes, shape: tuple[int, int, int]) -> Coded:
        split = 4 * shape[0]
        return Coded(self.name, _array(payload[split:], "i1", shape), _array(payload[:split], "<f4", shape[:1]))

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        return codes.float() * scales[:, :, None, None]


CODECS: dict[str, Codec] = {codec.name: codec for codec in (Float16Codec(), Int8Codec())}


def get_codec(name: str) -> Codec:
    """Look a codec up. Raises InputError naming the codecs there are."""
    if name not in CODECS:
        near = difflib.get_close_matches(name, CODECS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown codec {name!r}, there are {', '.join(CODECS)}{hint}")
    return CODECS[name]


def encode_embedding(embedding: np.ndarray, *, shape: Shape, codec: str) -> bytes:
    """Code the part of an embedding that sees the image.

    Args:
        embedding: (C, S/16, S/16) float.
        shape: (height, width) of the image in the input frame, pixels; what lies outside is dropped.
        codec: registry name.

    Raises:
        InputError: the embedding has a NaN or infinite value, or one that the codec cannot hold.
    """
    rows, columns = embedding_shape(shape)
    kept = np.ascontiguousarray(embedding[:, :rows, :columns], dtype=np.float32)
    if not np.isfinite(kept).all():
        raise InputError("the teacher's embedding has a NaN or infinite value")
    chosen = get_codec(codec)
    payload = chosen.encode(kept)
    name = chosen.name.encode("ascii")
    return HEADER.pack(MAGIC, RECORD_VERSION, chosen.version, name, *kept.shape, zlib.crc32(payload)) + payload


def parse_record(record: bytes) -> Coded:
    """A record -> codes and scales, checked, without float arithmetic.

    Raises:
        InputError: no record, a damaged one, or one of an unknown codec or version.
    """
    if len(record) < HEADER.size or not record.startswith(MAGIC):
        raise InputError(f"no embedding record: {len(record)} bytes that start with {record[:4]!r}, not {MAGIC!r}")
    _, version, codec_version, name, *shape, checksum = HEADER.unpack_from(record)
    codec = get_codec(name.rstrip(b"\0").decode("ascii", "replace"))
    if (version, codec_version) != (RECORD_VERSION, codec.version):
        raise InputError(
            f"embedding record version {version}, {codec.name} version {codec_version}; this release reads"
            f" {RECORD_VERSION} and {codec.version}; precompute the cache again"
        )
    payload = record[HEADER.size :]
    if zlib.crc32(payload) != checksum:
        raise InputError("the embedding record is damaged: its checksum does not match")
    channels, rows, columns = shape
    return codec.parse(payload, (channels, rows, columns))


def decode_embedding(record: bytes, *, image_size: int) -> np.ndarray:
    """A record -> (C, S/16, S/16) float32, 0 where nothing was stored. Raises InputError, see `parse_record`."""
    coded = parse_record(record)
    codes = torch.from_numpy(pad_codes(coded.codes, side=image_size // STRIDE))[None]
    return get_codec(coded.codec).dequantize(codes, torch.from_numpy(coded.scales)[None])[0].numpy()


def pad_codes(codes: np.ndarray, *, side: int) -> np.ndarray:
    """(C, rows, columns) -> (C, side, side) of the same dtype, zeros right and below."""
    channels, rows, columns = codes.shape
    if max(rows, columns) > side:
        raise InputError(f"stored embedding is {rows} x {columns}, the frame holds {side} x {side}")
    padded = np.zeros((channels, side, side), codes.dtype)
    padded[:, :rows, :columns] = codes
    return padded


def _array(payload: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes as an array that owns writable memory (torch warns about read-only arrays)."""
    expected = np.dtype(dtype).itemsize * int(np.prod(shape))
    if len(payload) != expected:
        raise InputError(f"the embedding record has {len(payload)} bytes of codes where {shape} needs {expected}")
    return np.frombuffer(bytearray(payload), dtype).reshape(shape)
