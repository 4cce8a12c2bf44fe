"""What a cache holds: one JSON line a shard, in order; written when all are on disk, see `shards.pipeline.work_folder`."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.files import read_bounded
from encoders.messages.shown import shown
from encoders.messages.words import counted
from encoders.untrusted import parse_json
from shards.cache.fields import BadPhoto, ImageSize, Keys, Name, Sha256, ShardBytes, ShardName, Version, checked
from shards.cache.files import to_line, write_if_other
from shards.cache.identity import CACHE_FILE, MAX_CACHE_BYTES, CacheIdentity
from shards.cache.names import shard_index
from shards.cache.remote import fetched, is_url

MANIFEST_FILE = "manifest.jsonl"
FORMAT = 1
MAX_MANIFEST_BYTES = 2**29  # three times that of all 11 million photos of SA-1B, whose keys are most of it
MAX_LINE_BYTES = 2**25  # of one shard: 400,000 photos with the longest keys
IDENTITY_FIELDS = ("teacher_sha256", "preprocess_version", "image_size", "codec", "codec_version", "source")


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One finished shard.

    Attributes:
        name: file name of the shard, e.g. "train-000000.tar".
        bytes, sha256: of the file.
        keys: its samples in order.
        quarantined: `{"key", "where", "reason"}` of each photo of its part of the source that is not in it.
        teacher, teacher_sha256, preprocess_version, image_size, codec, codec_version, source: see `CacheIdentity`.
        format: version of this line.
    """

    name: ShardName
    bytes: ShardBytes
    sha256: Sha256
    keys: Keys
    quarantined: tuple[BadPhoto, ...]
    teacher: Name
    teacher_sha256: Sha256
    preprocess_version: Name
    image_size: ImageSize
    codec: Name
    codec_version: Version
    source: Name
    format: Version = FORMAT

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def parse_entry(line: bytes) -> ShardEntry:
    """One line of a manifest, with or without its newline.

    Raises:
        InputError: it is too long or no JSON, or a field is missing, unknown, of another format or holds what it may not.
    """
    if len(line) > MAX_LINE_BYTES:
        raise InputError(f"it has {len(line)} bytes; at most {MAX_LINE_BYTES} are read")
    entry = checked(ShardEntry, parse_json(line, name="it"))
    if entry.format != FORMAT:
        raise InputError(f"format {entry.format}, this release reads {FORMAT}")
    return entry


@dataclass(frozen=True)
class Manifest:
    """The finished shards of a cache, in order of name.

    Attributes:
        folder: the cache; a URL where it is read from one.
        identity: who made it, from `cache.json`.
        entries: one a shard, in order of name.
    """

    folder: Path | str
    identity: CacheIdentity
    entries: tuple[ShardEntry, ...]

    @classmethod
    def read(cls, folder: Path | str) -> "Manifest":
        """Read and check the manifest of a complete cache, in a folder or at a URL.

        Raises:
            InputError: no cache, an unfinished one, an unreadable line, or shards that do not belong together; the URL
                cannot be read.
        """
        if is_url(folder):
            with fetched(str(folder), names={CACHE_FILE: MAX_CACHE_BYTES, MANIFEST_FILE: MAX_MANIFEST_BYTES}) as copy:
                return replace(cls.read(copy), folder=str(folder))
        folder = Path(folder)
        identity = CacheIdentity.read(folder)
        if identity is None:
            raise InputError(f"{folder} holds no cache of teacher embeddings; make one with: repvit-sam precompute")
        manifest = cls(folder, identity, tuple(read_entries(folder)))
        if len(manifest.entries) < identity.shards:
            raise InputError(
                f"the cache in {folder} is unfinished: the manifest that comes last names {len(manifest.entries)} of"
                f" {identity.shards} shards; run the same precompute command again"
            )
        manifest.check()
        return manifest

    def check(self) -> None:
        """Raise InputError where an entry contradicts `cache.json`."""
        for entry in self.entries:
            if (problem := contradiction(entry, self.identity)) is not None:
                raise InputError(f"{self.folder}/{entry.name}: {problem}; see what is wrong with: repvit-sam cache verify")

    def check_keys(self) -> None:
        """Raise InputError where a key comes twice; holds all keys in memory."""
        counts = Counter(key for entry in self.entries for key in entry.keys)
        twice = [key for key, count in counts.most_common(3) if count > 1]
        if twice:
            raise InputError(f"the cache in {self.folder} holds keys twice: {', '.join(twice)}")

    def check_files(self) -> None:
        """Raise InputError where a shard is missing or has another size than its entry says."""
        for entry in self.entries:
            path = Path(self.folder) / entry.name
            size = path.stat().st_size if path.is_file() else None
            if size != entry.bytes:
                what = "is missing" if size is None else f"has {size} bytes, the manifest says {entry.bytes}"
                raise InputError(f"{path} {what}; run the same precompute command again to make it again")

    def require(self, *, teacher_sha256: str | None = None, image_size: int | None = None) -> None:
        """Raise InputError, with both values, where the cache is of another teacher or image size than asked for."""
        made = self.identity
        if teacher_sha256 is not None and teacher_sha256 != made.teacher_sha256:
            raise InputError(
                f"the cache in {self.folder} was made by teacher {made.teacher} (sha256 {made.teacher_sha256}), but the"
                f" teacher given has sha256 {teacher_sha256}; precompute a cache with it, or give the one that made it"
            )
        if image_size is not None and image_size != made.image_size:
            raise InputError(
                f"the cache in {self.folder} was made at image size {made.image_size}, but {image_size} is asked for;"
                " precompute a cache at that size, or train at the cache's"
            )

    @cached_property
    def sha256(self) -> str:
        """sha256 of the manifest's lines in order: the identity of the cache's content."""
        return hashlib.sha256(b"".join(to_line(entry.to_json()) for entry in self.entries)).hexdigest()

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(len(entry.keys) for entry in self.entries)

    @property
    def quarantined(self) -> list[dict[str, str]]:
        """Photos that are not in the cache: `{"shard", "key", "where", "reason"}` each."""
        return [{"shard": entry.name, **bad} for entry in self.entries for bad in entry.quarantined]


def contradiction(entry: ShardEntry, identity: CacheIdentity) -> str | None:
    """What an entry says other than `cache.json`, if anything."""
    for name in IDENTITY_FIELDS:
        here, there = getattr(entry, name), getattr(identity, name)
        if here != there:
            return f"{name} is {shown(str(here))}, the cache's is {shown(str(there))}"
    if shard_index(entry.name) >= identity.shards:
        return f"there is an entry of it, but the cache has {counted(identity.shards, 'shard')}"
    return None


def read_entries(folder: Path) -> list[ShardEntry]:
    """Entries of a manifest, in order of name; of two lines of a shard the later holds.

    Earlier releases appended to it in no order while a cache grew, so it may be incomplete.

    A last line without its newline is what a kill leaves: it is left out, and its shard is made again.

    Raises:
        InputError: any other line that cannot be read.
    """
    entries: dict[str, ShardEntry] = {}
    for number, line in enumerate(manifest_lines(folder), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            entry = parse_entry(line)
        except InputError as error:
            raise InputError(
                f"{folder / MANIFEST_FILE}, line {number} cannot be read ({error}); remove that line and run precompute again"
            ) from error
        entries[entry.name] = entry
    return [entries[name] for name in sorted(entries)]


def manifest_lines(folder: Path) -> Iterable[bytes]:
    """The lines of a cache's manifest, with their newlines, which a torn last one lacks; none where there is no manifest.

    Raises:
        InputError: it is no regular file, too large, or cannot be read.
    """
    path = folder / MANIFEST_FILE
    if not os.path.lexists(path):
        return ()
    return BytesIO(read_bounded(path, max_bytes=MAX_MANIFEST_BYTES, name=str(path)))


def write_manifest(folder: Path, entries: Iterable[ShardEntry]) -> None:
    """Write the whole manifest in order of name, the same bytes whatever order the shards were finished in."""
    content = b"".join(to_line(entry.to_json()) for entry in sorted(entries, key=lambda entry: entry.name))
    write_if_other(folder / MANIFEST_FILE, content)
