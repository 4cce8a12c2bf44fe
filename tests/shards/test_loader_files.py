"""Where the members of a shard lie: what tarfile finds, and what is said of a damaged shard."""

import os
import tarfile
from dataclasses import replace

import pytest

import shards
from encoders.errors import InputError
from shards.index import MEMBERS, index_shard
from shards.writer import write_shard


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


def test_other_members_than_the_manifests_are_named(cache, entry, tmp_path):
    path = cache / entry.name
    swapped = (entry.keys[1], entry.keys[0], *entry.keys[2:])
    with pytest.raises(InputError, match=rf"holds {entry.keys[0]}\.emb where {entry.keys[1]}\.emb belongs"):
        indexed(path, replace(entry, keys=swapped))
    with pytest.raises(InputError, match=r"holds more than the manifest's 12 members"):
        indexed(path, replace(entry, keys=entry.keys[:4]))
    with pytest.raises(InputError, match=r"damaged at byte \d+"):
        indexed(path, replace(entry, keys=(*entry.keys, "one_more")))
