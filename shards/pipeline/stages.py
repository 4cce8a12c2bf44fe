"""What the stages of making shards do, and what passes through them; see `shards.pipeline.maker`."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shards.cache.identity import CacheIdentity
from shards.cache.manifest import ShardEntry
from shards.cache.names import shard_name
from shards.cache.shard_writer import ShardFile
from shards.cache.stored_photo import BadSample, StoredPhoto, decode_of, store_item
from shards.codec.records import encode_embedding
from shards.codec.seal import seal_record
from shards.pipeline.made_shard import MadeShard
from shards.pipeline.teacher_pass import Pass, Passes
from shards.sources.base import Item, Source


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a batch has added to a shard.

    Attributes:
        index: number of the shard.
        photos: number of photos of the source, good and bad, that the batch took.
        teacher_seconds: time of launching the teacher and of waiting for its result.
    """

    index: int
    photos: int
    teacher_seconds: float


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Settings and threads that all runs of a maker share; `ahead` is the number of photos read before they are needed."""

    source: Source
    identity: CacheIdentity
    folder: Path
    batch_size: int
    sealed: bool
    ahead: int
    teacher: Passes
    readers: ThreadPoolExecutor
    coders: ThreadPoolExecutor
    writer: ThreadPoolExecutor

    def store(self, item: Item) -> StoredPhoto | BadSample:
        """Read a photo, in a thread."""
        made = self.identity
        return store_item(self.source, item, image_size=made.image_size, decode=decode_of(made.preprocess_version))

    def code(self, photo: StoredPhoto, embedding: np.ndarray) -> tuple[bytes, bytes]:
        """Return the sample's record and its json, in a thread. Raises InputError if the embedding cannot be coded."""
        record = encode_embedding(embedding, shape=(photo.pixels.shape[0], photo.pixels.shape[1]), codec=self.identity.codec)
        facts = photo.json
        return (seal_record(record, jpeg=photo.jpeg, facts=facts) if self.sealed else record), facts

    def finish(self, shard: "OpenShard") -> MadeShard:
        """Complete a shard's file, in the writing thread."""
        size, sha256 = shard.file.finish()
        made = self.identity
        entry = ShardEntry(
            name=shard_name(shard.index),
            bytes=size,
            sha256=sha256,
            keys=tuple(shard.file.keys),
            quarantined=tuple(vars(sample) for sample in shard.bad),
            teacher=made.teacher,
            teacher_sha256=made.teacher_sha256,
            preprocess_version=made.preprocess_version,
            image_size=made.image_size,
            codec=made.codec,
            codec_version=made.codec_version,
            source=made.source,
        )
        return MadeShard(index=shard.index, entry=entry, temporary=shard.file.temporary)

    def close(self) -> None:
        """End all threads."""
        for pool in (self.readers, self.coders, self.writer):
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(eq=False)
class OpenShard:
    """A shard at work.

    Attributes:
        index: its number.
        file: what is written of it.
        unread: number of its photos that no batch has taken yet.
        bad: photos left out so far.
    """

    index: int
    file: ShardFile
    unread: int
    bad: list[BadSample] = field(default_factory=list)


@dataclass(eq=False)
class BatchAtWork:
    """A batch on its way through the stages.

    Attributes:
        shard: where it belongs.
        photos, rejected: its usable photos, and the others found on the way to them.
        count: number of photos, good and bad.
        last: whether it is the last one of its shard.
        passing: the teacher's pass, until its result is coded.
        records: of each photo, see `Stages.code`.
        made: the finished shard, of its last batch.
        teacher_seconds: see `Made`.
    """

    shard: OpenShard
    photos: list[StoredPhoto] = field(default_factory=list)
    rejected: list[BadSample] = field(default_factory=list)
    count: int = 0
    last: bool = False
    passing: Pass | None = None
    records: list["Future[tuple[bytes, bytes]]"] = field(default_factory=list)
    made: "Future[MadeShard] | None" = None
    teacher_seconds: float = 0.0
