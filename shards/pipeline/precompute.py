"""Precompute the teacher's embeddings of a source into shards. An interrupted call can be resumed at any point."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from encoders.acceleration import precision_mark
from encoders.contract import PREPROCESS_VERSION
from encoders.errors import InputError
from encoders.local_folder import check_local_folder
from encoders.sam import Sam
from shards.cache.identity import CacheIdentity
from shards.cache.kept import kept
from shards.cache.manifest import ShardEntry, read_entries
from shards.cache.stored_photo import BadSample
from shards.codec.records import get_codec
from shards.codec.seal import sealed_here
from shards.pipeline.codec_check import check_codec
from shards.pipeline.lease import LEASE_SECONDS, Lease
from shards.pipeline.maker import ShardMaker
from shards.pipeline.merge import merge
from shards.pipeline.progress import PrecomputeProgress, Tracker
from shards.pipeline.quarantine import Quarantine
from shards.pipeline.shard_plan import (
    begin,
    clear_leftovers,
    finished,
    photos_in,
    shard_count,
    shard_name,
)
from shards.pipeline.stages import Made
from shards.pipeline.work_folder import POLL_SECONDS, Board
from shards.sources.base import Source


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

    out: Path
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
    lease_seconds: float = LEASE_SECONDS,
    codec_gate: bool = True,
) -> PrecomputeSummary:
    """Write the teacher's embeddings of a source's photos to shards in `out`.

    A shard is `samples_per_shard` consecutive photos of the source, without the bad ones among them. Finished shards
    are kept, so the same call resumes. Any number of processes on machines that share `out` may call it, also later:
    each makes shards that no other process has made or is making, takes over those of processes that have ended or hang,
    and returns when all shards are finished. The result is byte-identical to that of one undisturbed process on the
    same kind of machine with the same batch size.

    Args:
        source: where the photos come from.
        teacher: in eval mode, on its device.
        teacher_name: its name in the manifest.
        teacher_sha256: checksum of its weights; a cache made with another one is refused.
        codec: see `shards.codec.records`.
        decode_workers: threads that read and resize photos; None for the cores of this process.
        max_bad_fraction: share of the source's photos that may be bad; one photo is always allowed unless it is 0.
        progress: called after every batch.
        rank, world_size: this process begins with the shards whose number is `rank` modulo `world_size`, so that
            processes started together do not ask for the same ones. Wrong values only cost time.
        lease_seconds: a process that has shown no sign of life for this long is presumed dead, and another process
            makes its shard; must be longer than a batch takes.
        codec_gate: before a cache is begun, check the codec's accuracy on its first photos (`pipeline.codec_check`).

    Raises:
        InputError: the codec misses its gate; or `out` holds a cache of another teacher, preprocessing, codec, image
            size, source or shard size; or is a URL, or cannot be written to (finished shards are kept); or too many photos
            are bad (the first few are named, finished shards are kept); or no photo can be used.
    """
    folder = check_local_folder(out, name="out")
    if min(samples_per_shard, batch_size) < 1 or not 0 <= rank < world_size or lease_seconds <= 0:
        raise InputError(
            f"samples_per_shard={samples_per_shard} and batch_size={batch_size} must be at least 1, rank={rank} below"
            f" world_size={world_size}, and lease_seconds={lease_seconds} more than 0"
        )
    quarantine = Quarantine(
        folder, total=len(source.items()), max_bad_fraction=max_bad_fraction, noun="photos" if source.views == 1 else "samples"
    )
    wanted = wanted_identity(
        source,
        teacher=teacher,
        teacher_name=teacher_name,
        teacher_sha256=teacher_sha256,
        codec=codec,
        samples_per_shard=samples_per_shard,
    )
    if codec_gate and CacheIdentity.read(folder) is None:
        check_codec(source, teacher=teacher, codec=codec)
    with kept(folder, what="finished shards are kept"):
        identity = begin(folder, wanted)
        state = PrecomputeProgress(
            photos=0,
            photos_total=len(source.items()),
            views=source.views,
            quarantined=0,
            shards=0,
            shards_total=identity.shards,
        )
        tracker = Tracker(folder, state=state, callback=progress)
        maker = ShardMaker(
            source,
            teacher=teacher,
            identity=identity,
            folder=folder,
            batch_size=batch_size,
            decode_workers=decode_workers,
            sealed=sealed_here(folder),
        )
        with maker:
            job = _Job(source, maker, folder, identity, quarantine, tracker)
            try:
                job.run(rank=rank, world_size=world_size, lease_seconds=lease_seconds)
            except FileNotFoundError:  # another process has finished the cache and removed the work folder
                if len(finished(folder, read_entries(folder))) < identity.shards:
                    raise
    return job.summary()


def wanted_identity(
    source: Source, *, teacher: Sam, teacher_name: str, teacher_sha256: str, codec: str, samples_per_shard: int
) -> CacheIdentity:
    """Return the identity of the cache that `precompute` makes with these arguments."""
    return CacheIdentity(
        teacher=teacher_name,
        teacher_sha256=teacher_sha256,
        preprocess_version=PREPROCESS_VERSION + precision_mark(teacher),
        image_size=teacher.image_size,
        codec=codec,
        codec_version=get_codec(codec).version,
        source=source.name,
        source_sha256=source.identity(),
        samples_per_shard=samples_per_shard,
        shards=shard_count(source, samples_per_shard),
    )


@dataclass
class _Job:
    """One process's share of a precompute, with checked settings."""

    source: Source
    maker: ShardMaker
    folder: Path
    identity: CacheIdentity
    quarantine: Quarantine
    tracker: Tracker
    made: int = 0  # shards

    def run(self, *, rank: int, world_size: int, lease_seconds: float) -> None:
        """Make shards until all are finished, by any process; then one process writes the manifest."""
        board = Board(self.folder, identity=self.identity, rank=rank, world_size=world_size, lease_seconds=lease_seconds)
        clear_leftovers(self.folder, before=board.leases.now() - lease_seconds)
        self._count_others(board)
        self.quarantine.check()
        while True:
            try:
                for index, lease in board.claims():
                    with lease:
                        self._make(index, lease, board)
            finally:
                self.tracker.release()
            if self._finish_cache(board):
                return

    def _make(self, index: int, lease: Lease, board: Board) -> None:
        self._count_others(board)
        try:
            entry = self.make_shard(index, lease)
        except FileNotFoundError:
            lease.beat()
            if not lease.lapsed:
                raise
            return  # this process stalled so long that its lease lapsed and others removed its half-written shard
        board.finish(index, entry)
        self.made += 1
        self._count_others(board)
        self.tracker.shard_finished(board.leases)

    def _finish_cache(self, board: Board) -> bool:
        """Finish the cache; return False if shards have to be made again."""
        while (lease := board.leases.take("manifest")) is None:
            time.sleep(min(POLL_SECONDS, board.leases.seconds / 4))
        with lease:
            self._count_others(board)
            missing = merge(self.folder, identity=self.identity, quarantine=self.quarantine)
            if not missing:
                self.tracker.all_finished()
            board.reopen(missing)
        return not missing

    def _count_others(self, board: Board) -> None:
        """Count the shards finished by other processes."""
        for index, bad in board.news():
            self.quarantine.finished(shard_name(index), bad)
        photos = photos_in(board.known, total=len(self.source.items()), identity=self.identity)
        self.tracker.set_totals(photos=photos, shards=len(board.known), quarantined=self.quarantine.count)

    def make_shard(self, index: int, lease: Lease) -> ShardEntry:
        """Make and publish one shard; return its manifest entry."""
        self.quarantine.begin(shard_name(index))

        def reject(_: int, sample: BadSample) -> None:
            self.quarantine.add(sample)

        def count(batch: Made) -> None:
            lease.beat()
            self.tracker.state.teacher_seconds += batch.teacher_seconds
            self.tracker.add_photos(photos=batch.photos, quarantined=self.quarantine.count)

        [made] = self.maker.make([index], progress=count, reject=reject)
        made.publish(replace=True)
        return made.entry

    def summary(self) -> PrecomputeSummary:
        """Summarise the current state of the cache."""
        entries = list(finished(self.folder, read_entries(self.folder)).values())
        state = self.tracker.measured()
        return PrecomputeSummary(
            out=self.folder,
            photos=sum(len(entry.keys) for entry in entries),
            quarantined=sum(len(entry.quarantined) for entry in entries),
            shards=len(entries),
            shards_made=self.made,
            bytes=sum(entry.bytes for entry in entries),
            seconds=state.seconds,
            teacher_seconds=state.teacher_seconds,
            complete=len(entries) == self.identity.shards,
        )
