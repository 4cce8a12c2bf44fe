"""The weights file of a Core ML package.

A header of 64 bytes (count, version 2), then for each blob 64 bytes that describe it (a sentinel, its type, its size in bytes,
its place in the file, unused bits) and its data; both are aligned to 64 bytes. A program names a blob by the place of its
description. Types below a byte are packed from the lowest bit up.

Source: coremltools, `mlmodel/src/MILBlob/Blob/StorageFormat.hpp` and `mlmodel/src/MILBlob/SubByteTypes.cpp`.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.errors import InputError
from encoders.export.mil.dtypes import BITS, BLOB_NUMBERS, NUMPY

ALIGNMENT = 64
SENTINEL = 0xDEADBEEF
VERSION = 2
HEADER = struct.Struct("<II")  # count, version
DESCRIPTION = struct.Struct("<IIQQQ")  # sentinel, type, bytes, offset, unused bits


@dataclass(frozen=True)
class Blob:
    """One tensor of a weights file, not yet read.

    Attributes:
        dtype: as stored, e.g. "fp16" or "uint6".
        offset: of the data in the file, in bytes.
        bytes: of the data.
        elements: of the tensor.
    """

    path: Path
    dtype: str
    offset: int
    bytes: int
    elements: int

    def read(self) -> np.ndarray:
        """(elements,): the type itself, or (u)int8 for those below a byte."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.bytes)
        if len(data) != self.bytes:
            raise InputError(f"{self.path} ends inside a tensor; write the package again")
        return decode(data, dtype=self.dtype, elements=self.elements)


def decode(data: bytes, *, dtype: str, elements: int) -> np.ndarray:
    """Raw little-endian bytes as `Blob.read` gives them.

    Raises:
        InputError: the type is not known here.
    """
    if dtype in NUMPY:
        return np.frombuffer(data, NUMPY[dtype], count=elements)
    if dtype in BITS and BITS[dtype] < 8:
        values = unpack_bits(np.frombuffer(data, np.uint8), bits=BITS[dtype], elements=elements)
        return sign_extend(values, bits=BITS[dtype]) if dtype.startswith("int") else values
    raise InputError(f"constants of type {dtype} cannot be read here; expected one of {', '.join(NUMPY)} or packed integers")


def unpack_bits(data: np.ndarray, *, bits: int, elements: int) -> np.ndarray:
    """(n,) uint8 -> (elements,) uint8: fields of `bits` bits, the first in the lowest bits, across the bounds of bytes."""
    fields = np.unpackbits(data, bitorder="little")[: bits * elements].reshape(elements, bits)
    values: np.ndarray = np.packbits(fields, axis=1, bitorder="little")[:, 0]
    return values


def sign_extend(values: np.ndarray, *, bits: int) -> np.ndarray:
    """uint8 fields of two's complement -> int8."""
    shift = 8 - bits
    extended: np.ndarray = (values << shift).astype(np.uint8).view(np.int8) >> shift
    return extended


def find_blob(path: Path, offset: int, *, dtype: str, elements: int) -> Blob:
    """The blob whose description starts at `offset`.

    Args:
        dtype, elements: what the program declares; the file has to agree.

    Raises:
        InputError: there is no such file or blob, or it is not of that type and size.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; the program keeps its weights there, so copy or write the package again")
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(HEADER.size)
        file.seek(offset)
        description = file.read(DESCRIPTION.size)
    if len(header) < HEADER.size or HEADER.unpack(header)[1] != VERSION:
        raise InputError(f"{path} is no weights file of version {VERSION}; copy or write the package again")
    if offset % ALIGNMENT or len(description) < DESCRIPTION.size:
        raise InputError(f"{path} has no tensor at byte {offset}; copy or write the package again")
    sentinel, number, count, place, _unused = DESCRIPTION.unpack(description)
    if sentinel != SENTINEL:
        raise InputError(f"{path} has no tensor at byte {offset}; copy or write the package again")
    stored = BLOB_NUMBERS.get(number, f"number {number}")
    needed = -(-elements * BITS[dtype] // 8) if dtype in BITS else -1
    if stored != dtype and (stored, dtype) != ("uint8", "bool"):
        raise InputError(f"{path} holds {stored} at byte {offset}, the program says {dtype}; write the package again")
    if count != needed or place + count > size:
        raise InputError(
            f"{path} holds {count} bytes at byte {place} of {size}, where the program needs {needed}; write the package again"
        )
    return Blob(path=path, dtype=dtype, offset=place, bytes=count, elements=elements)
