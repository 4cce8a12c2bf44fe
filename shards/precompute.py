"""The teacher's pass over a source, into shards. Interrupted anywhere, it goes on when called again."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from encoders.contract import PREPROCESS_VERSION
from encoders.errors import InputError
from encoders.files import sha256_file
from encoders.sam import Sam
from shards.codec import encode_embedding, get_codec
from shards.identity import CacheIdentity
from shards.manifest import Manifest, ShardEntry, append_entry, read_entries, write_manifest
from shards.ordered import ordered_map
from shards.progress import PrecomputeProgress, Tracker
from shards.quarantine import Quarantine
from shards.source import Source
from shards.stored import BadSample, StoredPhoto, store_item
from shards.teacher import embed
from shards.work import begin, clear_leftovers, finished, shard_count, shard_items, shard_name
from shards.writer import ShardWriter, write_shard

READ_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class PrecomputeSummary:
    """What a precompute call left behind.

    Attributes:
        out: the cache.
        photos: samples in it.
        quarantined: photos that are not in it; `quarantine.jsonl` says why.
        shards, shards_made: finished shards, and those of them that this call made.
        bytes: of all shards.
        seconds, teacher_seconds: of this call, and of it in the teacher.
        complete: every shard is there; False where other ranks still work.
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
) -> PrecomputeSummary:
    """Write the teacher's embeddings of a source's photos to shards in `out`.

    A shard is `samples_per_shard` consecutive photos of the source, without the bad ones among them. Finished shards
    are kept, so the same call resumes; the result is byte-identical to that of an undisturbed run on the same machine
    with the same batch size.

    Args:
        source: where the photos come from.
        teacher: in eval mode, on its device.
        teacher_name: its name in the manifest.
        teacher_sha256: checksum of its weights; a cache made with another one is refused.
        codec: see `shards.codec`.
        max_bad_fraction: share of the source's photos that may be bad; one photo is always allowed unless it is 0.
        progress: called after every batch.
        rank, world_size: this process makes the shards whose number is `rank` modulo `world_size`.

    Raises:
        InputError: `out` holds a cache of another teacher, preprocessing, codec, image size, source or shard size;
            or too many photos are bad (the first few are named, finished shards stay); or no photo is good.
    """
    folder = Path(out)
    if min(samples_per_shard, batch_size) < 1 or not 0 <= rank < world_size:
        raise InputError(
            f"samples_per_shard={samples_per_shard} and batch_size={batch_size} must be at least 1, and rank={rank}"
            f" below world_size={world_size}"
        )
    identity = begin(
        folder,
        CacheIdentity(
            teacher=teacher_name,
            teacher_sha256=teacher_sha256,
            preprocess_version=PREPROCESS_VERSION,
            image_size=teacher.image_size,
            codec=codec,
            codec_version=get_codec(codec).version,
            source=source.name,
            source_sha256=source.identity(),
            samples_per_shard=samples_per_shard,
            shards=shard_count(source, samples_per_shard),
        ),
    )
    clear_leftovers(folder, shards=identity.shards, rank=rank, world_size=world_size)
    done = finished(folder, read_entries(folder))
    quarantine = Quarantine(folder, total=len(source.items()), max_bad_fraction=max_bad_fraction)
    quarantine.restart(list(done.values()), write=rank == 0)
    quarantine.check()
    state = PrecomputeProgress(
        photos=sum(len(entry.keys) + len(entry.quarantined) for entry in done.values()),
        photos_total=len(source.items()),
        quarantined=quarantine.count,
        shards=len(done),
        shards_total=identity.shards,
    )
    tracker = Tracker(folder, state=state, callback=progress)
    job = _Job(source, teacher, folder, identity, batch_size, quarantine, tracker)
    missing = [i for i in range(rank, identity.shards, world_size) if shard_name(i) not in done]
    for index in missing:
        append_entry(folder, job.make_shard(index))
        job.tracker.shard_finished()
    return job.finish(made=len(missing))


@dataclass(frozen=True)
class _Job:
    """What making a shard needs, checked."""

    source: Source
    teacher: Sam
    folder: Path
    identity: CacheIdentity
    batch_size: int
    quarantine: Quarantine
    tracker: Tracker

    def make_shard(self, index: int) -> ShardEntry:
        """Write one shard; its entry is not in the manifest yet."""
        name = shard_name(index)
        items = shard_items(self.source, self.identity.samples_per_shard, index)
        store = partial(store_item, self.source, image_size=self.identity.image_size)
        stored = ordered_map(store, items, threads=READ_THREADS, ahead=2 * self.batch_size)
        bad: list[BadSample] = []

        def reject(sample: BadSample) -> None:
            bad.append(sample)
            self.quarantine.add(name, sample)

        with write_shard(self.folder / name) as writer:
            for good, count in batches(stored, batch_size=self.batch_size, reject=reject):
                self._add_batch(writer, good, reject)
                self.tracker.dealt_with(photos=count, quarantined=self.quarantine.count)
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
        with self.tracker.teaching():
            embeddings = embed(self.teacher, photos)
        for photo, embedding in zip(photos, embeddings, strict=True):
            shape = (photo.pixels.shape[0], photo.pixels.shape[1])
            try:
                record = encode_embedding(embedding, shape=shape, codec=self.identity.codec)
            except InputError as error:
                reject(BadSample(key=photo.key, where=photo.where, reason=str(error)))
                continue
            writer.add(photo.key, jpeg=photo.jpeg, embedding=record, facts=photo.json)

    def finish(self, *, made: int) -> PrecomputeSummary:
        """Bring the manifest and the quarantine list into their final form where every shard is there."""
        entries = list(finished(self.folder, read_entries(self.folder)).values())
        complete = len(entries) == self.identity.shards
        if complete:
            write_manifest(self.folder, entries)
            self.quarantine.restart(entries, write=True)
            self.quarantine.check()
            Manifest(self.folder, self.identity, tuple(entries)).check_keys()
            if not any(entry.keys for entry in entries):
                raise InputError(f"no photo of {self.source.name} can be used; see {self.quarantine.path}")
        state = self.tracker.measured()
        return PrecomputeSummary(
            out=self.folder,
            photos=sum(len(entry.keys) for entry in entries),
            quarantined=sum(len(entry.quarantined) for entry in entries),
            shards=len(entries),
            shards_made=made,
            bytes=sum(entry.bytes for entry in entries),
            seconds=state.seconds,
            teacher_seconds=state.teacher_seconds,
            complete=complete,
        )


def batches(
    stored: Iterable[StoredPhoto | BadSample], *, batch_size: int, reject: Callable[[BadSample], None]
) -> Iterator[tuple[list[StoredPhoto], int]]:
    """Group good photos; each group comes with the number of photos, good and bad, since the last. Bad ones go out."""
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
