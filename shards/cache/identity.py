"""The identity of a cache (teacher, source, codec), written once to `cache.json` and checked on every later use."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from encoders.errors import InputError
from encoders.files import remedy
from encoders.untrusted import read_json
from shards.cache.fields import Count, ImageSize, Name, Sha256, Version, checked
from shards.cache.files import create

CACHE_FILE = "cache.json"
MAX_CACHE_BYTES = 2**16  # of cache.json, which has less than 1 KiB
MEANING = {
    "teacher_sha256": "another teacher's weights",
    "preprocess_version": "another version of the preprocessing, another way of decoding, or another precision of the teacher",
    "image_size": "another image size",
    "codec": "another codec",
    "codec_version": "another version of the codec",
    "source": "another source",
    "source_sha256": "a source whose photos have changed",
    "samples_per_shard": "another number of photos a shard",
    "shards": "another number of shards",
}


@dataclass(frozen=True, kw_only=True)
class CacheIdentity:
    """Properties of a cache that must not change between runs that add to it.

    Attributes:
        teacher: display name; teachers with the same weights are the same, whatever their names.
        teacher_sha256: checksum of the teacher's weights.
        preprocess_version: `encoders.contract.PREPROCESS_VERSION`, a mark of fast decoding (`shards.cache.stored_photo`), and
            the precision of a teacher that is not in fp32.
        image_size: S in pixels.
        codec, codec_version: see `shards.codec.records`.
        source, source_sha256: see `shards.sources.base.Source`.
        samples_per_shard: source photos per shard, including unusable ones.
        shards: number of shards of the complete cache.
    """

    teacher: Name
    teacher_sha256: Sha256
    preprocess_version: Name
    image_size: ImageSize
    codec: Name
    codec_version: Version
    source: Name
    source_sha256: Sha256
    samples_per_shard: Count
    shards: Count

    @classmethod
    def read(cls, folder: Path) -> "CacheIdentity | None":
        """Read the identity of the cache in `folder`; None if there is no cache.

        Raises:
            InputError: the folder or `cache.json` cannot be read, or a field is missing, unknown or invalid.
        """
        path = folder / CACHE_FILE
        if not os.path.lexists(path):
            if folder.exists() and not os.access(folder, os.X_OK):  # an unreadable folder is not the same as an empty one
                raise InputError(f"{folder} cannot be looked into (Permission denied); change its permissions")
            return None
        try:
            return checked(cls, read_json(path, max_bytes=MAX_CACHE_BYTES, name="it"))
        except InputError as error:
            todo = f"bring it back, or make it again: repvit-sam cache verify {folder} --repair"
            if isinstance(error.__cause__, OSError):
                todo = remedy(error.__cause__, otherwise=todo)
            raise InputError(f"{path} cannot be read ({error}); {todo}") from error

    def write(self, folder: Path) -> None:
        """Write `cache.json` atomically, unless another process has already written it."""
        create(folder / CACHE_FILE, json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n")

    def check_same(self, made: "CacheIdentity", *, folder: Path | str) -> None:
        """Raise InputError if `made`, the identity of the cache in `folder`, differs from this one; names both values."""
        differences = [
            f"{meaning} ({name} is {getattr(made, name)} there, {getattr(self, name)} now)"
            for name, meaning in MEANING.items()
            if getattr(made, name) != getattr(self, name)
        ]
        if differences:
            raise InputError(
                f"the cache in {folder} was made with {'; '.join(differences)}; give another output folder, or remove"
                " this one"
            )
