"""Statistics of a finished or unfinished cache: counts, sizes and codec fidelity on a sample of records."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import InputError
from encoders.messages.words import counted
from encoders.sam import Sam
from shards.cache.identity import CacheIdentity
from shards.cache.manifest import Manifest
from shards.cache.shard_reader import StoredSample
from shards.cache.shard_writer import bytes_in_tar
from shards.codec.fidelity import EmbeddingPair, Fidelity, measure_fidelity, stored_boxes
from shards.codec.records import parse_record
from shards.pipeline.object_stores.mirror import small_files
from shards.pipeline.teacher_pass import embed
from shards.pipeline.work_folder import known_entries
from shards.stores.retry import is_url
from shards.verification.reading import opened_reader
from shards.verification.teacher import draw, stored_photo

NAMED = 5  # damaged samples named in an error


@dataclass(frozen=True, kw_only=True)
class CacheStats:
    """Counts and sizes of a cache.

    Attributes:
        photos, quarantined: number of photos in the cache, and of those left out of its finished shards.
        shards, shards_total: number of finished shards, and of all shards of the complete cache.
        bytes: total size of the finished shards.
        samples: number of records that were drawn and measured.
        bytes_per_sample: mean size of those without their JPEG: `KEY.emb` and `KEY.json`, each with its tar header and
            padded to whole blocks of 512 bytes.
        embedding_bytes, json_bytes: mean size of the two files alone.
    """

    photos: int
    quarantined: int
    shards: int
    shards_total: int
    bytes: int
    samples: int
    bytes_per_sample: float
    embedding_bytes: float
    json_bytes: float

    @property
    def complete(self) -> bool:
        return self.shards == self.shards_total


class CacheSample:
    """Records drawn at random from the finished shards of a cache.

    Args:
        folder: the cache, or its URL.
        samples: maximum number of records.
        seed: seed of the draw.

    Raises:
        InputError: there is no cache, or a shard does not match its entry.
    """

    def __init__(self, folder: Path | str, *, samples: int, seed: int = 0) -> None:
        folder = str(folder) if is_url(folder) else Path(folder)
        if samples < 1:
            raise InputError(f"{samples} samples; expected at least 1")
        with small_files(folder) as copy:
            identity = CacheIdentity.read(copy)
            if identity is None:
                raise InputError(f"{folder} holds no cache of teacher embeddings; make one with: repvit-sam precompute")
            found = known_entries(copy)
        self.manifest = Manifest(folder, identity, tuple(found[name] for name in sorted(found)))
        self.manifest.check()
        self._places = draw([len(entry.keys) for entry in self.manifest.entries], samples=samples, seed=seed)

    def stats(self) -> CacheStats:
        """Return the counts of the cache and the sizes of the drawn records.

        Raises:
            InputError: some records are damaged; names them.
        """
        entries = self.manifest.entries
        sizes, damaged = [], []
        for sample in self._read():
            try:
                check_whole(sample)
                sizes.append((len(sample.record), len(sample.facts)))
            except InputError as error:
                damaged.append(str(error))
        if damaged:
            more = f"; and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
            raise InputError(
                f"{len(damaged)} of {counted(len(sizes) + len(damaged), 'sample')} drawn from {self.manifest.folder} cannot be"
                f" measured: {'; '.join(damaged[:NAMED])}{more}; see what else is damaged: repvit-sam cache verify"
                f" {self.manifest.folder}"
            )
        count = max(1, len(sizes))
        return CacheStats(
            photos=self.manifest.samples,
            quarantined=len(self.manifest.quarantined),
            shards=len(entries),
            shards_total=self.manifest.identity.shards,
            bytes=sum(entry.bytes for entry in entries),
            samples=len(sizes),
            bytes_per_sample=sum(bytes_in_tar(size) for pair in sizes for size in pair) / count,
            embedding_bytes=sum(record for record, _ in sizes) / count,
            json_bytes=sum(facts for _, facts in sizes) / count,
        )

    def fidelity(self, teacher: Sam) -> Fidelity:
        """Recompute the drawn records' embeddings from their stored pixels, and compare.

        Args:
            teacher: the one that made the cache, in eval mode, on its device.

        Raises:
            InputError: a sample is damaged, or there is none.
        """
        self.manifest.require(image_size=teacher.image_size)
        if not self._places:
            raise InputError(f"the cache in {self.manifest.folder} holds no sample yet")
        return measure_fidelity(self._compare(teacher), teacher=teacher)

    def _compare(self, teacher: Sam) -> Iterator[EmbeddingPair]:
        for sample in self._read():
            check_whole(sample)
            photo = stored_photo(sample)
            yield EmbeddingPair(
                raw=embed(teacher, [photo])[0],
                coded=sample.embedding(image_size=teacher.image_size),
                shape=(photo.pixels.shape[0], photo.pixels.shape[1]),
                boxes=stored_boxes(photo.facts, image_size=teacher.image_size),
            )

    def _read(self) -> Iterator[StoredSample]:
        with opened_reader(self.manifest) as reader:
            for shard, place in self._places:
                yield reader.read(shard, place)


def check_whole(sample: StoredSample) -> None:
    """Check a sample against its checksums.

    Raises:
        InputError: it is damaged; names shard and key.
    """
    sample.check()
    try:
        parse_record(sample.record)
    except InputError as error:
        raise InputError(f"{sample.where}: {error}") from error
