"""Where the members of a shard lie: what tarfile finds, and what is said of a damaged shard."""

import os
import tarfile
from dataclasses import replace

import pytest

import shards
from encoders.errors import InputError
from shards.cache.shard_index import MEMBERS, index_shard
from shards.cache.shard_writer import write_shard
from shards.verification.shard import verify_shard


@pytest.fixture
def entry(cache):
    return shards.Manifest.read(cache).entries[1]


def indexed(path, entry):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return index_shard(descriptor, entry=replace(entry, bytes=path.stat().st_size), where=str(path))
    finally:
        os.close(descriptor)


def test_an_index_is_what_tarfile_finds_also_with_long_and_foreign_names(entry, tmp_path):
    keys = ("a", "ü" * 70, "long/" + "b" * 120, "c.d")
    path = tmp_path / "s.tar"
    with write_shard(path) as writer:
        for number, key in enumerate(keys):
            writer.add(key, jpeg=bytes(700 * number), embedding=bytes(512), facts=b"{}")
    spans = indexed(path, replace(entry, keys=keys))
    with tarfile.open(path) as tar:
        for key, row in zip(keys, spans, strict=True):
            for member, span in zip(MEMBERS, row, strict=True):
                found = tar.getmember(f"{key}.{member}")
                assert (found.offset_data, found.size) == tuple(span)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:5] + b"X" + data[6:], r"damaged at byte 0"),  # the header's checksum
        (lambda data: bytes(1024) + data[1024:], r"damaged at byte 0"),
        (lambda data: data[:-10240], r"damaged at byte|cut off"),
        (lambda data: b"", r"damaged at byte 0"),
    ],
)
def test_a_damaged_shard_is_named_with_the_place(cache, entry, tmp_path, damage, message):
    path = tmp_path / "s.tar"
    path.write_bytes(damage((cache / entry.name).read_bytes()))
    with pytest.raises(InputError, match=rf"s\.tar .*({message})"):
        indexed(path, entry)


def stating(size, *, kind=b"0"):
    """A shard's first header made to state so many bytes, in tar's notation for large and negative numbers."""

    def damage(data):
        header = bytearray(data[:512])
        header[124:136] = (b"\x80" if size >= 0 else b"\xff") + (size % 256**11).to_bytes(11, "big")
        header[156:157] = kind
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header) + data[512:]

    return damage


HOSTILE = [stating(2**70), stating(2**62), stating(-512), stating(2**40), stating(2**62, kind=b"x"), stating(2**70, kind=b"L")]


@pytest.mark.parametrize("damage", HOSTILE, ids=["2^70", "2^62", "-512", "2^40", "pax", "long name"])
def test_a_header_that_states_an_impossible_size_is_a_damaged_shard_for_readers_and_verify(cache, entry, tmp_path, damage):
    path = tmp_path / entry.name
    path.write_bytes(damage((cache / entry.name).read_bytes()))
    with pytest.raises(InputError, match=r"is damaged at byte 0 \(.*\); remove it and run precompute again"):
        indexed(path, entry)
    sha256, members = verify_shard(tmp_path, entry)
    assert "sha256 is" in sha256.problem and "cannot be read to its end (ReadError: " in members.problem


def test_other_members_than_the_manifests_are_named(cache, entry, tmp_path):
    path = cache / entry.name
    swapped = (entry.keys[1], entry.keys[0], *entry.keys[2:])
    with pytest.raises(InputError, match=rf"holds {entry.keys[0]}\.emb where {entry.keys[1]}\.emb belongs"):
        indexed(path, replace(entry, keys=swapped))
    with pytest.raises(InputError, match=r"holds more than the manifest's 12 members"):
        indexed(path, replace(entry, keys=entry.keys[:4]))
    with pytest.raises(InputError, match=r"damaged at byte \d+"):
        indexed(path, replace(entry, keys=(*entry.keys, "one_more")))
