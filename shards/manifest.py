"""What a cache holds: one JSON line a shard, in order; written when all of them are on disk, see `shards.board`."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from shards.files import to_line, write_if_other
from shards.identity import CACHE_FILE, CacheIdentity
from shards.remote import fetched, is_url

MANIFEST_FILE = "manifest.jsonl"
FORMAT = 1
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

    name: str
    bytes: int
    sha256: str
    keys: tuple[str, ...]
    quarantined: tuple[dict[str, str], ...]
    teacher: str
    teacher_sha256: str
    preprocess_version: str
    image_size: int
    codec: str
    codec_version: int
    source: str
    format: int = FORMAT

    @classmethod
    def from_json(cls, value: Any) -> "ShardEntry":
        """One parsed line; raises ValueError where a field is missing, unknown or of another format."""
        names = {field.name for field in fields(cls)}
        if not isinstance(value, dict) or set(value) != names:
            given = set(value) if isinstance(value, dict) else set()
            raise ValueError(f"missing {sorted(names - given)}, unknown {sorted(given - names)}")
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']}, this release reads {FORMAT}")
        return cls(**value | {"keys": tuple(value["keys"]), "quarantined": tuple(value["quarantined"])})

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


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
            with fetched(str(folder), names=(CACHE_FILE, MANIFEST_FILE)) as copy:
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
            for name in IDENTITY_FIELDS:
                here, there = getattr(entry, name), getattr(self.identity, name)
                if here != there:
                    raise InputError(f"{self.folder}/{entry.name}: {name} is {here}, the cache's is {there}")

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


def read_entries(folder: Path) -> list[ShardEntry]:
    """Entries of a manifest, in order of name; of two lines of a shard the later holds.

    Earlier releases appended to it in no order while a cache grew, so it may be incomplete.

    A last line without its newline is what a kill leaves: it is left out, and its shard is made again.

    Raises:
        InputError: any other line that cannot be read.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        return []
    whole, _, _torn = path.read_bytes().rpartition(b"\n")
    entries: dict[str, ShardEntry] = {}
    for number, line in enumerate(whole.split(b"\n") if whole else [], start=1):
        try:
            entry = ShardEntry.from_json(json.loads(line))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}, line {number} cannot be read ({error}); remove that line and run precompute again"
            ) from error
        entries[entry.name] = entry
    return [entries[name] for name in sorted(entries)]


def write_manifest(folder: Path, entries: Iterable[ShardEntry]) -> None:
    """Write the whole manifest in order of name, the same bytes whatever order the shards were finished in."""
    content = b"".join(to_line(entry.to_json()) for entry in sorted(entries, key=lambda entry: entry.name))
    write_if_other(folder / MANIFEST_FILE, content)
