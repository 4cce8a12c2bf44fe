"""Who made a cache, and from what: written once into `cache.json`, compared ever after."""

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
    "preprocess_version": "another version of the preprocessing, or another precision of the teacher",
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
    """What must not change while a cache grows.

    Attributes:
        teacher: name for people; two names of the same weights are the same teacher.
        teacher_sha256: of the teacher's weights.
        preprocess_version: `encoders.contract.PREPROCESS_VERSION`, and the precision of a teacher that is not in fp32.
        image_size: S in pixels.
        codec, codec_version: see `shards.codec.records`.
        source, source_sha256: see `shards.sources.base.Source`.
        samples_per_shard: photos of the source per shard, good and bad ones.
        shards: number of shards when complete.
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
        """The identity of the cache in `folder`, None where no cache was begun.

        Raises:
            InputError: the folder or `cache.json` cannot be read, or a field is missing, unknown or holds what it may not.
        """
        path = folder / CACHE_FILE
        if not os.path.lexists(path):
            if folder.exists() and not os.access(folder, os.X_OK):  # what is in it cannot be seen, which is not nothing
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
        """Write `cache.json`, whole, unless another process was first."""
        create(folder / CACHE_FILE, json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n")

    def check_same(self, made: "CacheIdentity", *, folder: Path) -> None:
        """Raise InputError, with both values, where the cache in `folder`, `made`, is not what is asked for now."""
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
