"""The weights file of a Core ML package.

The file starts with a header of 64 bytes (count, version 2). Each blob is a description of 64 bytes (a sentinel, its type, its
size in bytes, its offset in the file, unused bits) followed by its data; both are aligned to 64 bytes. A program refers to a
blob by the offset of its description. Types narrower than a byte are packed from the lowest bit up.

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
    """The location of one tensor in a weights file.

    Attributes:
        dtype: element type in the file, e.g. "fp16" or "uint6".
        offset: position of the data in the file, in bytes.
        bytes: size of the data.
        elements: number of elements of the tensor.
    """

    path: Path
    dtype: str
    offset: int
    bytes: int
    elements: int

    def read(self) -> np.ndarray:
        """Return the tensor as an array of shape (elements,), in its own type or, if that is narrower than a byte, in (u)int8.

        Raises:
            InputError: the file ends before the data does.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.bytes)
        if len(data) != self.bytes:
            raise InputError(f"{self.path} ends inside a tensor; copy the whole package or export the model again")
        return decode(data, dtype=self.dtype, elements=self.elements)


def decode(data: bytes, *, dtype: str, elements: int) -> np.ndarray:
    """Return the array that little-endian bytes hold, in the types of `Blob.read`.

    Raises:
        InputError: the type is not supported, or the data does not have exactly the bytes that `elements` of it need.
    """
    if dtype not in BITS or (dtype not in NUMPY and BITS[dtype] >= 8):
        raise InputError(f"constants of type {dtype} are not supported; expected one of {', '.join(NUMPY)} or packed integers")
    needed = packed_bytes(elements, dtype=dtype)
    if len(data) != needed:
        raise InputError(f"a constant has {len(data)} bytes where {elements} x {dtype} need {needed}; export the model again")
    if dtype in NUMPY:
        return np.frombuffer(data, NUMPY[dtype])
    values = unpack_bits(np.frombuffer(data, np.uint8), bits=BITS[dtype], elements=elements)
    return sign_extend(values, bits=BITS[dtype]) if dtype.startswith("int") else values


def packed_bytes(elements: int, *, dtype: str) -> int:
    """Return how many bytes that many elements take, rounded up to a whole byte."""
    return -(-elements * BITS[dtype] // 8)


def unpack_bits(data: np.ndarray, *, bits: int, elements: int) -> np.ndarray:
    """Return the (elements,) uint8 values of fields of `bits` bits packed in (n,) uint8, the first in the lowest bits."""
    fields = np.unpackbits(data, bitorder="little")[: bits * elements].reshape(elements, bits)
    values: np.ndarray = np.packbits(fields, axis=1, bitorder="little")[:, 0]
    return values


def sign_extend(values: np.ndarray, *, bits: int) -> np.ndarray:
    """Return int8 values of uint8 fields that hold `bits` bits of two's complement."""
    shift = 8 - bits
    extended: np.ndarray = (values << shift).astype(np.uint8).view(np.int8) >> shift
    return extended


def find_blob(path: Path, offset: int, *, dtype: str, elements: int) -> Blob:
    """Return the blob whose description starts at `offset`.

    Args:
        dtype, elements: as declared by the program; the file has to agree.

    Raises:
        InputError: there is no such file or blob, or it has another type or size.
    """
    if not path.is_file():
        raise InputError(f"{path}, which holds weights, is missing; copy the whole package or export the model again")
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(HEADER.size)
        file.seek(offset)
        description = file.read(DESCRIPTION.size)
    if len(header) < HEADER.size or HEADER.unpack(header)[1] != VERSION:
        raise InputError(f"{path} is not a weights file of version {VERSION}; export the model again")
    whole = offset % ALIGNMENT == 0 and len(description) == DESCRIPTION.size
    sentinel, number, count, place, _unused = DESCRIPTION.unpack(description) if whole else (0, 0, 0, 0, 0)
    if sentinel != SENTINEL:
        raise InputError(f"{path} has no tensor at byte {offset}; copy the whole package or export the model again")
    stored = BLOB_NUMBERS.get(number, f"number {number}")
    needed = packed_bytes(elements, dtype=dtype) if dtype in BITS else -1
    if stored != dtype and (stored, dtype) != ("uint8", "bool"):
        raise InputError(f"{path} has {stored} at byte {offset} where the program declares {dtype}; export the model again")
    if count != needed or place + count > size:
        raise InputError(
            f"{path} has {count} bytes at byte {place} of {size} where the program needs {needed}; copy the whole package or "
            "export the model again"
        )
    return Blob(path=path, dtype=dtype, offset=place, bytes=count, elements=elements)
