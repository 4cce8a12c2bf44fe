"""Self-describing binary records of embeddings: codec, version, shape, checksum and payload.

Layout, little endian: magic "RVSE", record version u8, codec version u8, codec name 10 bytes, channels, rows, columns
u16 each, crc32 of the payload u32; then, in version 2, the checksums of `shards.codec.seal`; then the payload. Rows and
columns that cover only padding are never stored.
"""

import difflib
import zlib

import numpy as np
import torch

from encoders.contract import STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, embedding_shape
from shards.codec.base import Codec, Coded
from shards.codec.int4 import Int4Codec
from shards.codec.scalar import Float16Codec, Int8Codec
from shards.codec.seal import ALONE, HEADER, MAGIC, SEALED, check_header, payload_start

CODECS: dict[str, Codec] = {codec.name: codec for codec in (Float16Codec(), Int8Codec(), Int4Codec())}


def get_codec(name: str) -> Codec:
    """Return a codec by its registry name. Raises InputError listing the known codecs."""
    if name not in CODECS:
        near = difflib.get_close_matches(name, CODECS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown codec {name!r}, there are {', '.join(CODECS)}{hint}")
    return CODECS[name]


def encode_embedding(embedding: np.ndarray, *, shape: Shape, codec: str) -> bytes:
    """Encode the part of an embedding that covers the image.

    Args:
        embedding: (C, S/16, S/16) float.
        shape: (height, width) of the image in the input frame, pixels; positions outside are dropped.
        codec: registry name.

    Returns:
        A record of version 1; `shards.codec.seal.seal_record` adds the checksums of the sample's other files.

    Raises:
        InputError: the embedding has a NaN or infinite value, or one that the codec cannot represent.
    """
    rows, columns = embedding_shape(shape)
    kept = np.ascontiguousarray(embedding[:, :rows, :columns], dtype=np.float32)
    if not np.isfinite(kept).all():
        raise InputError("the teacher's embedding has a NaN or infinite value")
    chosen = get_codec(codec)
    payload = chosen.encode(kept)
    name = chosen.name.encode("ascii")
    return HEADER.pack(MAGIC, ALONE, chosen.version, name, *kept.shape, zlib.crc32(payload)) + payload


def parse_record(record: bytes) -> Coded:
    """Check a record and return its codes and scales, without float arithmetic.

    Raises:
        InputError: not a record, a damaged record, or one of an unknown codec or version.
    """
    check_header(record)
    _, version, codec_version, name, *shape, checksum = HEADER.unpack_from(record)
    codec = get_codec(name.rstrip(b"\0").decode("ascii", "replace"))
    if codec_version != codec.version:
        raise InputError(
            f"embedding record version {version}, {codec.name} version {codec_version}; this release reads {ALONE} or {SEALED}"
            f" and {codec.version}; precompute the cache again"
        )
    # A copy, because torch expects aligned, writable arrays.
    payload = memoryview(bytearray(memoryview(record)[payload_start(record) :]))
    if zlib.crc32(payload) != checksum:
        raise InputError("the embedding record is damaged: its checksum does not match")
    channels, rows, columns = shape
    return codec.parse(payload, (channels, rows, columns))


def decode_embedding(record: bytes, *, image_size: int) -> np.ndarray:
    """Decode a record to (C, S/16, S/16) float32, 0 outside the stored part. Raises InputError, see `parse_record`."""
    coded = parse_record(record)
    codes = torch.from_numpy(pad_codes(coded.codes, side=image_size // STRIDE))[None]
    embedding = get_codec(coded.codec).dequantize(codes, torch.from_numpy(coded.scales)[None])[0].numpy()
    rows, columns = coded.codes.shape[1:]
    embedding[:, rows:], embedding[:, :, columns:] = 0, 0
    return embedding


def pad_codes(codes: np.ndarray, *, side: int, out: np.ndarray | None = None) -> np.ndarray:
    """(planes, rows, columns) -> (planes, side, side) of the same dtype, in `out` if given; zeros right and below."""
    planes, rows, columns = codes.shape
    if max(rows, columns) > side:
        raise InputError(f"stored embedding is {rows} x {columns}, the frame holds {side} x {side}")
    padded = np.empty((planes, side, side), codes.dtype) if out is None else out
    padded[:, :rows, :columns] = codes
    padded[:, rows:] = 0
    padded[:, :rows, columns:] = 0
    return padded
