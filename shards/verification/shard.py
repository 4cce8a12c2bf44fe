"""Verification of a single shard and its samples."""

import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from encoders.contract import EMBED_DIM
from encoders.errors import InputError
from encoders.files import sha256_file
from shards.cache.manifest import ShardEntry
from shards.cache.shard_index import MEMBERS
from shards.cache.shard_reader import StoredSample
from shards.cache.shard_writer import EMBEDDING, FACTS, JPEG
from shards.sources.tar_index import Headers
from shards.verification.findings import Problem, Remedy


def verify_shard(folder: Path, entry: ShardEntry) -> list[Problem]:
    """Check a shard against its manifest entry: size, sha256, members and every sample (`verify_sample`)."""
    path = folder / entry.name
    if not path.is_file():
        return [Problem(where=entry.name, problem="is missing")]
    problems = []
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            what = "was cut off" if size < entry.bytes else "has grown"
            problems.append(Problem(where=entry.name, problem=f"{what}: {size} bytes, the manifest says {entry.bytes}"))
        elif (sha256 := sha256_file(path)) != entry.sha256:
            problems.append(Problem(where=entry.name, problem=f"sha256 is {sha256}, the manifest says {entry.sha256}"))
    except PermissionError as error:
        text = f"may not be read ({error.strerror}); change its permissions"
        return [Problem(where=entry.name, problem=text, remedy=Remedy.BY_HAND)]
    except OSError as error:
        return [Problem(where=entry.name, problem=f"cannot be read ({error.strerror})")]
    return problems + list(_verify_members(path, entry))


def verify_sample(sample: StoredSample, *, image_size: int, codec: str) -> None:
    """Check that the three parts of a sample are intact and belong together.

    The record must have a valid checksum, the cache's codec and the size that the photo implies; the photo must decode; the
    json must match the key and the photo.

    Raises:
        InputError: describes the problem; parsers may raise other exceptions on damaged bytes.
    """
    pixels = sample.pixels()
    shape = (pixels.shape[0], pixels.shape[1])
    coded = sample.coded(shape=shape, image_size=image_size)
    if coded.codec != codec or coded.channels != EMBED_DIM:
        raise InputError(f"its record is {coded.codec} of {coded.channels} channels, not {codec} of {EMBED_DIM}")
    facts = sample.json()
    if facts.get("key") != sample.key:
        raise InputError(f"its json is that of {facts.get('key')!r}")
    stated = (facts.get("stored_height"), facts.get("stored_width"))
    if stated != shape:
        raise InputError(f"its json says {stated} (height, width) of a photo of {shape}")
    original = [facts.get("height"), facts.get("width")]
    for annotation in facts["annotations"]:
        if list(annotation["segmentation"]["size"]) != original:
            raise InputError(f"a mask of {annotation['segmentation']['size']} does not fit a photo of {original}")
    sample.check()


def _verify_members(path: Path, entry: ShardEntry) -> Iterator[Problem]:
    """Find the problems of the shard's samples, including samples that the manifest does not list."""
    missing = dict.fromkeys(entry.keys)
    try:
        for key, parts in _samples(path):
            problem = _verify_parts(key, parts, entry) if key in missing else "is not in the manifest, or comes twice"
            missing.pop(key, None)
            if problem is not None:
                yield Problem(where=entry.name, key=key, problem=problem)
    except Exception as error:  # tarfile lets its parsers' errors through
        if isinstance(error, MemoryError):
            raise
        rest = f"; {len(missing)} of {len(entry.keys)} samples are lost, from {next(iter(missing))} on" if missing else ""
        yield Problem(where=entry.name, problem=f"cannot be read to its end ({type(error).__name__}: {error}){rest}")
        return
    for key in missing:
        yield Problem(where=entry.name, key=key, problem="is missing")


def _verify_parts(key: str, parts: Mapping[str, bytes], entry: ShardEntry) -> str | None:
    """Describe a sample's problem; None if there is none."""
    if absent := [name for name in MEMBERS if name not in parts]:
        return f"has no {key}.{absent[0]}"
    sample = StoredSample(shard=entry.name, key=key, record=parts[EMBEDDING], jpeg=parts[JPEG], facts=parts[FACTS])
    try:
        verify_sample(sample, image_size=entry.image_size, codec=entry.codec)
    except Exception as error:  # any parser error on damaged bytes is a finding
        return str(error).removeprefix(f"{sample.where}: ") if isinstance(error, InputError) else repr(error)
    return None


def _samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the key and the parts by extension of each run of members with the same key."""
    key: str | None = None
    parts: dict[str, bytes] = {}
    with path.open("rb") as shard:
        size = os.fstat(shard.fileno()).st_size
        for member in Headers(shard).members():
            name, _, extension = member.name.partition(".")
            plain = member.isreg() and not member.issparse()  # a sparse member may claim any number of zeros
            if plain and member.offset_data + member.size > size:
                raise tarfile.ReadError(f"the member at byte {member.offset} is cut off")
            data = os.pread(shard.fileno(), member.size, member.offset_data) if plain else b""
            if name != key or extension in parts:
                if key is not None:
                    yield key, parts
                key, parts = name, {}
            parts[extension] = data
    if key is not None:
        yield key, parts
