"""Precompute the teacher's embeddings of a source into shards. An interrupted call can be resumed at any point."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.acceleration import precision_mark
from encoders.contract import PREPROCESS_VERSION
from encoders.errors import InputError
from encoders.local_folder import check_local_folder
from encoders.sam import Sam
from shards.cache.identity import CacheIdentity
from shards.cache.kept import kept
from shards.cache.stored_photo import Decode, decode_mark
from shards.codec.records import get_codec
from shards.pipeline.lead import CacheLead, finished_elsewhere
from shards.pipeline.object_stores.mirror import Mirror, open_mirror
from shards.pipeline.object_stores.store_lead import StoreLead
from shards.pipeline.progress import PrecomputeProgress
from shards.pipeline.quarantine import check_fraction
from shards.pipeline.shard_plan import shard_count
from shards.pipeline.work_folder import known_entries
from shards.pipeline.worker import CacheWorker
from shards.sources.base import Source
from shards.stores.retry import is_url


@dataclass(frozen=True, kw_only=True)
class PrecomputeSummary:
    """Result of a precompute call.

    Attributes:
        out: the cache.
        photos: number of samples in the cache.
        quarantined: number of photos left out of it; `quarantine.jsonl` has the reasons.
        shards, shards_made: number of finished shards, and of those made by this call.
        bytes: total size of the shards.
        seconds, teacher_seconds: duration of this call, and the part of it spent in the teacher.
        complete: whether all shards are finished.
    """

    out: Path | str
    photos: int
    quarantined: int
    shards: int
    shards_made: int
    bytes: int
    seconds: float
    teacher_seconds: float
    complete: bool


def precompute(
    source: Source,
    *,
    teacher: Sam,
    teacher_name: str,
    teacher_sha256: str,
    out: Path | str,
    codec: str = "int8",
    samples_per_shard: int = 1000,
    batch_size: int = 8,
    decode_workers: int | None = None,
    max_bad_fraction: float = 0.01,
    progress: Callable[[PrecomputeProgress], None] | None = None,
    rank: int = 0,
    world_size: int = 1,
    codec_gate: bool = True,
    decode: Decode = "exact",
    scratch: Path | str | None = None,
) -> PrecomputeSummary:
    """Write the teacher's embeddings of a source's photos to shards in `out`.

    A shard is `samples_per_shard` consecutive photos of the source, without the bad ones among them. Finished shards
    are kept, so the same call resumes. Several processes on machines that share `out` may split the work by `rank` and
    `world_size`: each makes its share, and whoever then finds all shards finished completes the cache; if one of them was
    killed, the same calls make what is missing. The result is byte-identical to that of one undisturbed process on the same
    kind of machine with the same batch size.

    Args:
        source: where the photos come from.
        teacher: in eval mode, on its device.
        teacher_name: its name in the manifest.
        teacher_sha256: checksum of its weights; a cache made with another one is refused.
        codec: see `shards.codec.records`.
        decode_workers: threads that read and resize photos; None for the cores of this process.
        max_bad_fraction: share of the source's photos that may be bad; one photo is always allowed unless it is 0.
        progress: called after every batch.
        rank, world_size: this process makes the shards whose number is `rank` modulo `world_size`. A single process locks
            the folder against others of this machine.
        codec_gate: before a cache is begun, check the codec's accuracy on its first photos (`pipeline.codec_check`).
        decode: how photos are decoded and resized, see `shards.cache.stored_photo.store_photo`; another way is another cache.
        scratch: folder on this machine for shards that are being made, if `out` is the URL of an object store; by default in
            the user's folder for caches.

    Raises:
        InputError: another process is at work in `out`; the codec misses its gate; or `out` holds a cache of another
            teacher, preprocessing, codec, image size, source or shard size; or cannot be written to (finished
            shards are kept); or too many photos are bad (the first few are named, finished shards are kept); or no photo can
            be used.
    """
    mirror = None
    if is_url(out):
        mirror = open_mirror(str(out), scratch=scratch, rank=rank, world_size=world_size)
    folder = check_local_folder(out, name="out") if mirror is None else mirror.folder
    if min(samples_per_shard, batch_size) < 1 or not 0 <= rank < world_size:
        raise InputError(
            f"samples_per_shard={samples_per_shard} and batch_size={batch_size} must be at least 1, and rank={rank} below"
            f" world_size={world_size}"
        )
    check_fraction(max_bad_fraction)
    wanted = wanted_identity(
        source,
        teacher=teacher,
        teacher_name=teacher_name,
        teacher_sha256=teacher_sha256,
        codec=codec,
        samples_per_shard=samples_per_shard,
        decode=decode,
    )
    with (
        kept(folder, what="finished shards are kept"),
        CacheWorker(
            source,
            teacher=teacher,
            wanted=wanted,
            folder=folder,
            batch_size=batch_size,
            decode_workers=decode_workers,
            codec_gate=codec_gate,
            mirror=mirror,
        ) as worker,
        open_lead(
            folder, mirror, max_bad_fraction=max_bad_fraction, progress=progress, rank=rank, world_size=world_size
        ) as lead,
    ):
        started = time.monotonic()
        try:
            while True:
                tasks = iter(lead.begin(worker.facts))
                for index, news in worker.run(tasks, count=lead.count, reject=lead.reject):
                    lead.done(index, news)
                if lead.finish():
                    break
        except FileNotFoundError:
            if not lead.finished_elsewhere():
                raise
    return summary(lead, seconds=time.monotonic() - started)


def wanted_identity(
    source: Source,
    *,
    teacher: Sam,
    teacher_name: str,
    teacher_sha256: str,
    codec: str,
    samples_per_shard: int,
    decode: Decode = "exact",
) -> CacheIdentity:
    """Return the identity of the cache that `precompute` makes with these arguments."""
    return CacheIdentity(
        teacher=teacher_name,
        teacher_sha256=teacher_sha256,
        preprocess_version=PREPROCESS_VERSION + decode_mark(decode) + precision_mark(teacher),
        image_size=teacher.image_size,
        codec=codec,
        codec_version=get_codec(codec).version,
        source=source.name,
        source_sha256=source.identity(),
        samples_per_shard=samples_per_shard,
        shards=shard_count(source, samples_per_shard),
    )


def open_lead(folder: Path, mirror: Mirror | None, **settings: Any) -> CacheLead:
    """Return the lead of a cache in a folder or, with a mirror, in an object store; `settings` are those of `CacheLead`."""
    return CacheLead(folder, **settings) if mirror is None else StoreLead(mirror, **settings)


def summary(lead: CacheLead, *, seconds: float) -> PrecomputeSummary:
    """Summarise the current state of a cache.

    Args:
        lead: of a call that has ended.
        seconds: its duration.
    """
    entries = list(known_entries(lead.folder).values())
    identity = CacheIdentity.read(lead.folder)
    return PrecomputeSummary(
        out=lead.out,
        photos=sum(len(entry.keys) for entry in entries),
        quarantined=sum(len(entry.quarantined) for entry in entries),
        shards=len(entries),
        shards_made=lead.made,
        bytes=sum(entry.bytes for entry in entries),
        seconds=seconds,
        teacher_seconds=lead.teacher_seconds,
        complete=identity is not None and finished_elsewhere(lead.folder, identity),
    )
