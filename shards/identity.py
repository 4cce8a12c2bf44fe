"""Who made a cache, and from what: written once into `cache.json`, compared ever after."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from encoders.errors import InputError
from shards.files import create

CACHE_FILE = "cache.json"
MEANING = {
    "teacher_sha256": "another teacher's weights",
    "preprocess_version": "another version of the preprocessing, or another precision of the teacher",
    "image_size": "another image size",
    "codec": "another codec",
    "codec_version": "another version of the codec",
    "source": "another source",
    "source_sha256": "a source whose photos have changed",
    "samples_per_shard": "another number of photos a shard",
}


@dataclass(frozen=True, kw_only=True)
class CacheIdentity:
    """What must not change while a cache grows.

    Attributes:
        teacher: name for people; two names of the same weights are the same teacher.
        teacher_sha256: of the teacher's weights.
        preprocess_version: `encoders.contract.PREPROCESS_VERSION`, and the precision of a teacher that is not in fp32.
        image_size: S in pixels.
        codec, codec_version: see `shards.codec`.
        source, source_sha256: see `shards.source.Source`.
        samples_per_shard: photos of the source per shard, good and bad ones.
        shards: number of shards when complete.
    """

    teacher: str
    teacher_sha256: str
    preprocess_version: str
    image_size: int
    codec: str
    codec_version: int
    source: str
    source_sha256: str
    samples_per_shard: int
    shards: int

    @classmethod
    def read(cls, folder: Path) -> "CacheIdentity | None":
        """The identity of the cache in `folder`, None where no cache was begun."""
        path = folder / CACHE_FILE
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error}); remove {folder} and precompute again") from error

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
