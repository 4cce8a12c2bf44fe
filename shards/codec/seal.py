"""Checksums in `KEY.emb` of the two files beside it, so that a sample whose photo or facts were damaged is not trained on.

A record of version 1 vouches for its own payload alone, as earlier releases wrote it. One of version 2 has, between version 1's
header and the payload, crc32 u32 of `KEY.jpg`, of `KEY.json`, and of all header bytes before.
"""

import struct
import zlib
from pathlib import Path
from tarfile import BLOCKSIZE

from encoders.errors import InputError

MAGIC = b"RVSE"
ALONE, SEALED = 1, 2  # record versions
HEADER = struct.Struct("<4sBB10sHHHI")  # see shards.codec.records
SEAL = struct.Struct("<III")
PREFIX = BLOCKSIZE + HEADER.size  # bytes of a shard, from its start, that hold the first record's header


def is_sealed(record: bytes) -> bool:
    """Whether a record says what the files beside it have to be."""
    return record[4:5] == bytes([SEALED])


def is_alone(record: bytes) -> bool:
    """Whether a record is one of an earlier release, which says nothing of the files beside it."""
    return record.startswith(MAGIC + bytes([ALONE]))


def payload_start(record: bytes) -> int:
    """Byte of a record at which its payload begins."""
    return HEADER.size + SEAL.size * is_sealed(record)


def seal_record(record: bytes, *, jpeg: bytes, facts: bytes) -> bytes:
    """A record of version 1, and the files to be stored beside it -> the same of version 2."""
    header = MAGIC + bytes([SEALED]) + record[5 : HEADER.size] + struct.pack("<II", zlib.crc32(jpeg), zlib.crc32(facts))
    return header + struct.pack("<I", zlib.crc32(header)) + record[HEADER.size :]


def check_header(record: bytes) -> None:
    """Check what can be known of a record without its payload.

    Raises:
        InputError: no record, one of an unknown version, or one of version 2 whose header is damaged.
    """
    if len(record) < HEADER.size or not record.startswith(MAGIC):
        raise InputError(f"no embedding record: {len(record)} bytes that start with {record[:4]!r}, not {MAGIC!r}")
    if record[4] not in (ALONE, SEALED):
        raise InputError(
            f"embedding record version {record[4]}; this release reads {ALONE} and {SEALED}; precompute the cache again"
        )
    if is_sealed(record):
        start = payload_start(record)
        if len(record) < start or zlib.crc32(record[: start - 4]) != int.from_bytes(record[start - 4 : start], "little"):
            raise InputError("the embedding record is damaged: the checksum of its header does not match")


def check_sealed(record: bytes, *, jpeg: bytes, facts: bytes) -> None:
    """Check the files beside a record against it; one of version 1 says nothing of them.

    Raises:
        InputError: the record's header is damaged, or a file is not the one that was stored with it.
    """
    check_header(record)
    if not is_sealed(record):
        return
    expected = SEAL.unpack_from(record, HEADER.size)
    for content, checksum, what in ((jpeg, expected[0], "jpg"), (facts, expected[1], "json")):
        if zlib.crc32(content) != checksum:
            raise InputError(f"its {what} is damaged: the checksum in its embedding record does not match")


def sealed_here(folder: Path) -> bool:
    """Whether the records of a cache are to be of version 2: unless its finished shards have those of version 1.

    So a shard that is made again gets the bytes that it had, and a cache begun by an earlier release is finished in one kind.
    """
    for path in sorted(folder.glob("train-*.tar")):
        with path.open("rb") as file:
            start = file.read(PREFIX)[BLOCKSIZE:]
        if start.startswith(MAGIC) and start[4] in (ALONE, SEALED):
            return is_sealed(start)
    return True
