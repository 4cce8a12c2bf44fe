"""Precompute the teacher's embeddings of a source into shards. An interrupted call can be resumed at any point."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from encoders.acceleration import precision_mark
from encoders.contract import PREPROCESS_VERSION
from encoders.errors import InputError
from encoders.files import sha256_file
from encoders.local_folder import check_local_folder
from encoders.sam import Sam
from shards.cache.identity import CacheIdentity
from shards.cache.kept import kept
from shards.cache.manifest import ShardEntry, read_entries
from shards.cache.ordered import ordered_map
from shards.cache.shard_writer import ShardWriter, write_shard
from shards.cache.stored_photo import BadSample, StoredPhoto, store_item
from shards.codec.records import encode_embedding, get_codec
from shards.codec.seal import seal_record, sealed_here
from shards.pipeline.codec_check import check_codec
from shards.pipeline.lease import LEASE_SECONDS, Lease
from shards.pipeline.merge import merge
from shards.pipeline.progress import PrecomputeProgress, Tracker
from shards.pipeline.quarantine import Quarantine
from shards.pipeline.shard_plan import (
    READ_THREADS,
    begin,
    clear_leftovers,
    finished,
    photos_in,
    shard_count,
    shard_items,
    shard_name,
)
from shards.pipeline.teacher_pass import embed
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
        job = _Job(source, teacher, folder, identity, batch_size, quarantine, tracker, sealed=sealed_here(folder))
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
    teacher: Sam
    folder: Path
    identity: CacheIdentity
    batch_size: int
    quarantine: Quarantine
    tracker: Tracker
    sealed: bool  # records have checksums of the sample's other files
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
        """Write one shard and return its manifest entry."""
        name = shard_name(index)
        items = shard_items(self.source, self.identity.samples_per_shard, index)
        store = partial(store_item, self.source, image_size=self.identity.image_size)
        stored = ordered_map(store, items, threads=READ_THREADS, ahead=2 * self.batch_size)
        bad: list[BadSample] = []
        self.quarantine.begin(name)

        def reject(sample: BadSample) -> None:
            bad.append(sample)
            self.quarantine.add(sample)

        with write_shard(self.folder / name) as writer:
            for good, count in batches(stored, batch_size=self.batch_size, reject=reject):
                lease.beat()
                self._add_batch(writer, good, reject)
                lease.beat()
                self.tracker.add_photos(photos=count, quarantined=self.quarantine.count)
        path = self.folder / name
        made = self.identity
        return ShardEntry(
            name=name,
            bytes=path.stat().st_size,
            sha256=sha256_file(path),
            keys=tuple(writer.keys),
            quarantined=tuple(vars(sample) for sample in bad),
            teacher=made.teacher,
            teacher_sha256=made.teacher_sha256,
            preprocess_version=made.preprocess_version,
            image_size=made.image_size,
            codec=made.codec,
            codec_version=made.codec_version,
            source=made.source,
        )

    def _add_batch(self, writer: ShardWriter, photos: list[StoredPhoto], reject: Callable[[BadSample], None]) -> None:
        if not photos:
            return
        with self.tracker.teacher_time():
            embeddings = embed(self.teacher, photos)
        for photo, embedding in zip(photos, embeddings, strict=True):
            shape = (photo.pixels.shape[0], photo.pixels.shape[1])
            try:
                record = encode_embedding(embedding, shape=shape, codec=self.identity.codec)
            except InputError as error:
                reject(BadSample(key=photo.key, where=photo.where, reason=str(error)))
                continue
            facts = photo.json
            if self.sealed:
                record = seal_record(record, jpeg=photo.jpeg, facts=facts)
            writer.add(photo.key, jpeg=photo.jpeg, embedding=record, facts=facts)

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


def batches(
    stored: Iterable[StoredPhoto | BadSample], *, batch_size: int, reject: Callable[[BadSample], None]
) -> Iterator[tuple[list[StoredPhoto], int]]:
    """Yield batches of usable photos, each with the number of photos consumed for it. Bad photos are passed to `reject`."""
    group: list[StoredPhoto] = []
    count = 0
    for sample in stored:
        count += 1
        if isinstance(sample, BadSample):
            reject(sample)
            continue
        group.append(sample)
        if len(group) == batch_size:
            yield group, count
            group, count = [], 0
    if count:
        yield group, count
