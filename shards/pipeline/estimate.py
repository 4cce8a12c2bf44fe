"""Dry-run planning of a precompute: remaining work, disk space and time."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.contract import EMBED_DIM, STRIDE
from encoders.errors import InputError
from encoders.files import free_bytes
from encoders.sam import Sam
from shards.cache.identity import CacheIdentity
from shards.cache.shard_writer import bytes_in_tar
from shards.cache.stored_photo import BadSample, Decode, StoredPhoto, decode_of, store_item
from shards.codec.records import encode_embedding
from shards.pipeline.maker import worker_count
from shards.pipeline.progress import earlier_rate
from shards.pipeline.shard_plan import photos_in, shard_index
from shards.pipeline.teacher_pass import embed
from shards.pipeline.work_folder import known_entries
from shards.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class PrecomputePlan:
    """The work, size and time of a planned precompute call.

    Attributes:
        photos, photos_done: number of photos in the source, good and bad, and of those in finished shards.
        shards, shards_done: number of shards of the complete cache, and of finished ones.
        bytes, bytes_done: of the shards when complete (an estimate), and of the finished ones.
        bytes_free: free space on the file system of the cache.
        bytes_per_photo, bytes_from: the size per photo used for the estimate, and its origin.
        photos_per_second, rate_from: the rate of one process used for the estimate, and its origin.
        processes: number of processes that share the work.
        hours: estimated time for the remaining work.
    """

    photos: int
    photos_done: int
    shards: int
    shards_done: int
    bytes: int
    bytes_done: int
    bytes_free: int
    bytes_per_photo: int
    bytes_from: str
    photos_per_second: float
    rate_from: str
    processes: int
    hours: float


def plan_precompute(
    source: Source,
    *,
    teacher: Sam,
    identity: CacheIdentity,
    out: Path,
    batch_size: int,
    processes: int = 1,
    decode_workers: int | None = None,
    seed: int = 0,
) -> PrecomputePlan:
    """Plan a precompute: count the finished work and estimate the rest from earlier progress or from a measurement.

    Nothing is written. The size estimate uses finished shards and the time estimate the progress of earlier calls, where
    there are any. Otherwise both are measured on two batches of photos, drawn by `seed`.

    Raises:
        InputError: `out` holds another cache, or none of the photos drawn can be used.
    """
    if min(processes, batch_size) < 1:
        raise InputError(f"{processes} processes and batch_size={batch_size}: expected at least 1 of each")
    made = CacheIdentity.read(out)
    if made is not None:
        identity.check_same(made, folder=out)
    entries = known_entries(out)
    photos = len(source.items())
    done = photos_in({shard_index(name) for name in entries}, total=photos, identity=identity)
    bytes_done = sum(entry.bytes for entry in entries.values())
    per_photo, bytes_from = bytes_done / max(1, done), f"{len(entries)} finished shards"
    rate, rate_from = earlier_rate(out), "the progress of earlier calls"
    if done < photos and (not entries or rate is None):
        workers = worker_count(decode_workers)
        measured = measure(source, teacher=teacher, identity=identity, batch_size=batch_size, workers=workers, seed=seed)
        if not entries:
            per_photo, bytes_from = measured.bytes_per_photo, f"{measured.photos} photos measured now"
        if rate is None:
            rate, rate_from = measured.photos_per_second, f"{measured.photos} photos measured now"
    left = photos - done
    return PrecomputePlan(
        photos=photos,
        photos_done=done,
        shards=identity.shards,
        shards_done=len(entries),
        bytes=round(bytes_done + left * per_photo),
        bytes_done=bytes_done,
        bytes_free=free_bytes(out),
        bytes_per_photo=round(per_photo),
        bytes_from=bytes_from,
        photos_per_second=rate or 0.0,
        rate_from=rate_from if rate else "nothing, nothing is left to do",
        processes=processes,
        hours=left / rate / processes / 3600 if left and rate else 0.0,
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measured on a few photos: the rate of one process and the bytes of a photo in a shard."""

    photos: int
    photos_per_second: float
    bytes_per_photo: float


@dataclass(frozen=True, kw_only=True)
class PhotoCost:
    """Measured on a few photos, without a teacher: the seconds of one thread for a photo, and its bytes in a shard.

    Attributes:
        photos: number of photos measured.
        reading_seconds: reading, decoding, resizing, and coding the JPEG.
        coding_seconds: coding an embedding of random numbers.
        bytes_per_photo: see `Measured`; those of the codecs depend on the photo's shape alone.
    """

    photos: int
    reading_seconds: float
    coding_seconds: float
    bytes_per_photo: float


def measure_photos(
    source: Source, *, image_size: int, codec: str, decode: Decode = "exact", count: int = 8, seed: int = 0
) -> PhotoCost:
    """Measure reading photos and coding embeddings of their shapes.

    Raises:
        InputError: none of the photos drawn can be used.
    """
    good, reading = _read_drawn(source, image_size=image_size, decode=decode, count=count, seed=seed)
    side = image_size // STRIDE
    embedding = np.random.default_rng(seed).standard_normal((EMBED_DIM, side, side), np.float32)
    sizes = []
    started = time.perf_counter()
    for photo in good:
        record = encode_embedding(embedding, shape=(photo.pixels.shape[0], photo.pixels.shape[1]), codec=codec)
        sizes.append(_bytes_of(record, photo))
    coding = (time.perf_counter() - started) / len(good)
    return PhotoCost(
        photos=len(good), reading_seconds=reading, coding_seconds=coding, bytes_per_photo=sum(sizes) / len(sizes)
    )


def measure(
    source: Source, *, teacher: Sam, identity: CacheIdentity, batch_size: int, workers: int, seed: int
) -> Measured:
    """Measure the time and size of making the records of two batches of photos, the first being a warm-up."""
    drawn, reading = _read_drawn(
        source, image_size=identity.image_size, decode=decode_of(identity.preprocess_version), count=4 * batch_size, seed=seed
    )
    reading /= workers
    good = drawn[: 2 * batch_size]
    sizes: list[int] = []
    for start in range(0, len(good), batch_size):
        batch = good[start : start + batch_size]
        started = time.perf_counter()
        for photo, embedding in zip(batch, embed(teacher, batch), strict=True):
            shape = (photo.pixels.shape[0], photo.pixels.shape[1])
            record = encode_embedding(embedding, shape=shape, codec=identity.codec)
            sizes.append(_bytes_of(record, photo))
        teaching = (time.perf_counter() - started) / len(batch)
    return Measured(
        photos=len(good), photos_per_second=1 / max(teaching, reading), bytes_per_photo=sum(sizes) / len(sizes)
    )


def _read_drawn(
    source: Source, *, image_size: int, decode: Decode, count: int, seed: int
) -> tuple[list[StoredPhoto], float]:
    """Read photos drawn by `seed`; return the usable ones, and the seconds that one takes."""
    drawn = np.random.default_rng(seed).permutation(len(source.items()))[:count]
    started = time.perf_counter()
    stored = [store_item(source, source.items()[index], image_size=image_size, decode=decode) for index in drawn.tolist()]
    reading = (time.perf_counter() - started) / len(stored)
    good = [photo for photo in stored if isinstance(photo, StoredPhoto)]
    if not good:
        first = next(sample for sample in stored if isinstance(sample, BadSample))
        raise InputError(f"none of {len(stored)} photos drawn from {source.name} can be used; the first: {first.reason}")
    return good, reading


def _bytes_of(record: bytes, photo: StoredPhoto) -> int:
    return sum(bytes_in_tar(len(member)) for member in (record, photo.jpeg, photo.json))
