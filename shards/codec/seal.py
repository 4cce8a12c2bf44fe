"""Checksums of `KEY.jpg` and `KEY.json` in `KEY.emb`, so that damaged samples are not used for training.

Version 1 records, written by earlier releases, have only a checksum of their own payload. Version 2 records have, between
version 1's header and the payload, the crc32 (u32) of `KEY.jpg`, of `KEY.json`, and of all preceding header bytes.
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
PREFIX = BLOCKSIZE + HEADER.size  # number of bytes at the start of a shard that include the first record's header


def is_sealed(record: bytes) -> bool:
    """Return whether a record has checksums of the sample's other files (version 2)."""
    return record[4:5] == bytes([SEALED])


def is_alone(record: bytes) -> bool:
    """Return whether a record has no checksums of the sample's other files (version 1)."""
    return record.startswith(MAGIC + bytes([ALONE]))


def payload_start(record: bytes) -> int:
    """Return the offset of a record's payload in bytes."""
    return HEADER.size + SEAL.size * is_sealed(record)


def seal_record(record: bytes, *, jpeg: bytes, facts: bytes) -> bytes:
    """Convert a version 1 record to version 2 by adding the checksums of the sample's other files."""
    header = MAGIC + bytes([SEALED]) + record[5 : HEADER.size] + struct.pack("<II", zlib.crc32(jpeg), zlib.crc32(facts))
    return header + struct.pack("<I", zlib.crc32(header)) + record[HEADER.size :]


def check_header(record: bytes) -> None:
    """Check a record's header, without its payload.

    Raises:
        InputError: not a record, an unknown version, or a version 2 record with a damaged header.
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
    """Check a sample's photo and json against the checksums in its record; version 1 records have none and pass.

    Raises:
        InputError: the record's header is damaged, or a file differs from the one that was stored with it.
    """
    check_header(record)
    if not is_sealed(record):
        return
    expected = SEAL.unpack_from(record, HEADER.size)
    for content, checksum, what in ((jpeg, expected[0], "jpg"), (facts, expected[1], "json")):
        if zlib.crc32(content) != checksum:
            raise InputError(f"its {what} is damaged: the checksum in its embedding record does not match")


def sealed_here(folder: Path) -> bool:
    """Return whether new records of a cache should be version 2: yes, unless its finished shards have version 1.

    A shard that is made again thus gets identical bytes, and a cache begun by an earlier release keeps a single version.
    """
    for path in sorted(folder.glob("train-*.tar")):
        with path.open("rb") as file:
            start = file.read(PREFIX)
        if (sealed := sealed_start(start)) is not None:
            return sealed
    return True


def sealed_start(shard: bytes) -> bool | None:
    """Return whether the first record of a shard, given its first PREFIX bytes, is of version 2; None if it is no record."""
    record = shard[BLOCKSIZE:]
    return is_sealed(record) if record.startswith(MAGIC) and record[4] in (ALONE, SEALED) else None
