"""The manifest of a cache: one JSON line per shard, in order, written once all shards are on disk."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.files import read_bounded_lines
from encoders.messages.shown import shown
from encoders.messages.words import counted
from encoders.untrusted import parse_json
from shards.cache.fields import BadPhoto, ImageSize, Keys, Name, Sha256, ShardBytes, ShardName, Version, checked
from shards.cache.files import atomic_writer, to_line
from shards.cache.identity import CACHE_FILE, MAX_CACHE_BYTES, CacheIdentity
from shards.cache.names import shard_index
from shards.cache.remote import fetched, is_url
from shards.sources.repeats import repeated_keys

MANIFEST_FILE = "manifest.jsonl"
FORMAT = 1
MAX_MANIFEST_BYTES = 2**29  # three times the size for all 11 million photos of SA-1B; mostly keys
MAX_LINE_BYTES = 2**25  # limit of one line: 400,000 photos with keys of maximum length
IDENTITY_FIELDS = ("teacher_sha256", "preprocess_version", "image_size", "codec", "codec_version", "source")


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One finished shard.

    Attributes:
        name: file name of the shard, e.g. "train-000000.tar".
        bytes, sha256: of the file.
        keys: keys of its samples, in order; a `KeyList` where the entry was read from a file.
        quarantined: `{"key", "where", "reason"}` of each unusable photo among the shard's source photos.
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
        """Return the fields as JSON types."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"keys": tuple(self.keys)}


def parse_entry(line: bytes) -> ShardEntry:
    """Parse one manifest line, with or without its newline.

    Raises:
        InputError: the line is too long or not JSON, has another format version, or a field is missing, unknown or invalid.
    """
    if len(line) > MAX_LINE_BYTES:
        raise InputError(f"it has {len(line)} bytes; at most {MAX_LINE_BYTES} are read")
    entry = checked(ShardEntry, parse_json(line, name="it"))
    if entry.format != FORMAT:
        raise InputError(f"format {entry.format}, this release reads {FORMAT}")
    return entry


@dataclass(frozen=True)
class Manifest:
    """Entries of all finished shards of a cache, sorted by name.

    Attributes:
        folder: the cache's folder or URL.
        identity: the cache's identity, from `cache.json`.
        entries: one per shard, sorted by name.
    """

    folder: Path | str
    identity: CacheIdentity
    entries: tuple[ShardEntry, ...]

    @classmethod
    def read(cls, folder: Path | str) -> "Manifest":
        """Read and check the manifest of a complete cache, in a folder or at a URL.

        Raises:
            InputError: no cache, an unfinished cache, an unreadable line, or shards of different caches; the URL
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
        """Raise InputError if an entry contradicts `cache.json`."""
        for entry in self.entries:
            if (problem := contradiction(entry, self.identity)) is not None:
                raise InputError(f"{self.folder}/{entry.name}: {problem}; see what is wrong with: repvit-sam cache verify")

    def check_keys(self) -> None:
        """Raise InputError if a key occurs twice."""
        counts = repeated_keys([entry.keys for entry in self.entries], count=self.samples)
        if twice := [key for key, _ in counts.most_common(3)]:
            raise InputError(f"the cache in {self.folder} holds keys twice: {', '.join(twice)}")

    def check_files(self) -> None:
        """Raise InputError if a shard is missing or its file size differs from its entry."""
        for entry in self.entries:
            path = Path(self.folder) / entry.name
            size = path.stat().st_size if path.is_file() else None
            if size != entry.bytes:
                what = "is missing" if size is None else f"has {size} bytes, the manifest says {entry.bytes}"
                raise InputError(f"{path} {what}; run the same precompute command again to make it again")

    def require(self, *, teacher_sha256: str | None = None, image_size: int | None = None) -> None:
        """Raise InputError, naming both values, if the cache was made with another teacher or image size."""
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
        """Return the sha256 of the manifest's lines in order, which identifies the cache's content."""
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(to_line(entry.to_json()))
        return digest.hexdigest()

    @property
    def samples(self) -> int:
        """Return the number of samples."""
        return sum(len(entry.keys) for entry in self.entries)

    @property
    def quarantined(self) -> list[dict[str, str]]:
        """Return the photos left out of the cache, each as `{"shard", "key", "where", "reason"}`."""
        return [{"shard": entry.name, **bad} for entry in self.entries for bad in entry.quarantined]


def contradiction(entry: ShardEntry, identity: CacheIdentity) -> str | None:
    """Describe how an entry contradicts `cache.json`; None if it does not."""
    for name in IDENTITY_FIELDS:
        here, there = getattr(entry, name), getattr(identity, name)
        if here != there:
            return f"{name} is {shown(str(here))}, the cache's is {shown(str(there))}"
    if shard_index(entry.name) >= identity.shards:
        return f"there is an entry of it, but the cache has {counted(identity.shards, 'shard')}"
    return None


def read_entries(folder: Path) -> list[ShardEntry]:
    """Read the entries of a manifest, sorted by name. If a shard has two lines, the later one counts.

    Earlier releases appended to the manifest, unordered, while the cache grew, so it may be incomplete.

    A last line without a newline was cut off by a kill: it is ignored, and its shard is made again.

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


def manifest_lines(folder: Path) -> Iterator[bytes]:
    """Yield the raw lines of a manifest, newlines included; an incomplete last line has none. None without a manifest.

    Raises:
        InputError: it is not a regular file, is too large, or cannot be read.
    """
    path = folder / MANIFEST_FILE
    if os.path.lexists(path):
        yield from read_bounded_lines(path, max_bytes=MAX_MANIFEST_BYTES, name=str(path))


def write_manifest(folder: Path, entries: Iterable[ShardEntry]) -> None:
    """Write the complete manifest, sorted by name: its bytes do not depend on the order in which shards finished.

    A manifest that already has these lines is left as it is. One line at a time is in memory.
    """
    path, ordered = folder / MANIFEST_FILE, sorted(entries, key=lambda entry: entry.name)
    if _has_lines(path, ordered):
        return
    with atomic_writer(path) as file:
        for entry in ordered:
            file.write(to_line(entry.to_json()))


def _has_lines(path: Path, entries: Iterable[ShardEntry]) -> bool:
    if not path.is_file():
        return False
    lines = (to_line(entry.to_json()) for entry in entries)
    with path.open("rb") as file:
        return all(file.read(len(line)) == line for line in lines) and not file.read(1)
