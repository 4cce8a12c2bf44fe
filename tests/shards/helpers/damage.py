"""Damage for caches, and caches as earlier releases wrote them."""

import random
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import shards
from encoders.files import sha256_file
from shards.cache.manifest import write_manifest
from shards.cache.shard_writer import write_shard
from shards.codec.seal import HEADER, SEAL


def as_before_seals(cache: Path, copy: Path) -> Path:
    """A copy of a cache with records of version 1, which vouch for nothing but themselves."""
    shutil.copytree(cache, copy)
    manifest = shards.Manifest.read(cache)
    reader = shards.ShardReader(manifest)
    entries = []
    for number, entry in enumerate(manifest.entries):
        path = copy / entry.name
        with write_shard(path) as writer:
            for place, key in enumerate(entry.keys):
                sample = reader.read(number, place)
                writer.add(key, jpeg=sample.jpeg, embedding=unsealed(sample.record), facts=sample.facts)
        entries.append(replace(entry, bytes=path.stat().st_size, sha256=sha256_file(path)))
    write_manifest(copy, entries)
    return copy


def unsealed(record: bytes) -> bytes:
    """A record as version 1 has it."""
    return record[:4] + b"\1" + record[5 : HEADER.size] + record[HEADER.size + SEAL.size :]


def find_member(path: Path, name: str) -> int:
    """Byte of a shard where a member's data begins."""
    with tarfile.open(path) as tar:
        return tar.getmember(name).offset_data


def flip(path: Path, offset: int, *, bit: int = 0) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def flips(path: Path, *, count: int, seed: int) -> Iterator[int]:
    """Flip a bit somewhere in a file, yield its byte, and put it back, so many times."""
    rng = random.Random(seed)
    whole = path.read_bytes()
    for _ in range(count):
        offset = rng.randrange(len(whole))
        flip(path, offset, bit=rng.randrange(8))
        yield offset
        path.write_bytes(whole)
