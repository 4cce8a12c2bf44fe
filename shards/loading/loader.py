"""Batches of a cache for training, in the order of `shards.loading.sample_order`."""

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count
from math import gcd
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from encoders.errors import InputError
from shards.cache.local_cache import DEFAULT_BYTES
from shards.cache.manifest import Manifest
from shards.cache.shard_reader import ShardReader
from shards.cache.storage import FolderStore, open_store
from shards.codec.seal import is_alone
from shards.loading.batch import Batch, make_batch
from shards.loading.held_out import HeldOut, HeldOutShare
from shards.loading.sample_order import LANES, SampleOrder, SamplePosition
from shards.loading.whole_shards import WholeShards

AHEAD = 1 / 8
NAMED = 5  # damaged samples of a shard named in an error

# Turns a batch into what the step needs, in the worker. It also gets each row's place in the endless training sequence, which
# seeds all that is drawn for it, whatever the number of ranks. It must survive pickling.
Transform = Callable[[Batch, Sequence[int]], Any]


class ShardLoader:
    """This rank's part of every global batch of a cache.

    The order depends on the manifest, the seed and the global batch alone: 2 ranks of 4 see the batches of 1 rank of 8,
    rank r holding rows r, r + 2, r + 4, r + 6. Epochs follow each other without a seam, see `shards.loading.sample_order`.

    A sample that is damaged or cannot be decoded ends the run: substituting another sample would make the step differ from
    that of a resumed run. Repair the cache and start the run again; it resumes from its last checkpoint. Samples are checked
    against the checksums in their records, see `shards.codec.seal`. Caches of earlier releases lack these checksums: their
    shards are compared with the manifest's sha256, in a folder before the first use, at a URL when they are downloaded.

    Args:
        cache: folder that `precompute` wrote, or its URL: http, https or whatever fsspec opens.
        batch_size: number of samples per batch for this rank.
        rank, world_size: rank of this process, and number of processes.
        seed: seed of the order.
        num_workers: processes that read and decode; 0 reads and decodes in this process.
        records: batches also carry each sample's json: original size, meta, annotations as RLE.
        transform: applied to each batch in the worker; batches are then what it returns.
        held_out: photos that no batch holds; an epoch is that much shorter.
        local_cache: folder for the shards of a URL, on a disk of this machine; processes and caches may share it.
        local_cache_bytes: maximum total size of that folder.

    Raises:
        InputError: there is no complete cache, a URL is given without a local cache or with one that is too small, the size
            of a shard differs from the manifest, or there are fewer samples than one global batch.
    """

    def __init__(
        self,
        cache: Path | str,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        num_workers: int = 0,
        records: bool = False,
        transform: Transform | None = None,
        held_out: HeldOutShare | None = None,
        local_cache: Path | str | None = None,
        local_cache_bytes: int = DEFAULT_BYTES,
    ) -> None:
        self.manifest = Manifest.read(cache)
        if batch_size < 1 or not 0 <= rank < world_size or num_workers < 0:
            raise InputError(
                f"batch_size={batch_size} must be at least 1, rank={rank} below world_size={world_size} and"
                f" num_workers={num_workers} not negative"
            )
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.num_workers = num_workers
        self.records = records
        self.transform = transform
        self.held_out = None if held_out is None else HeldOut(self.manifest, held_out)
        counts = [len(entry.keys) for entry in self.manifest.entries]
        self.order = SampleOrder(counts if self.held_out is None else self.held_out.kept_counts, seed=seed)
        if self.samples < self.global_batch:
            aside = f", {len(self.held_out)} more are held out" if self.held_out else ""
            raise InputError(
                f"the cache in {cache} holds {self.samples} samples{aside}, fewer than one global batch of {self.global_batch}"
                f" ({world_size} x {batch_size}); use a smaller batch or precompute more photos"
            )
        self.store = open_store(
            self.manifest,
            local_cache=local_cache,
            local_cache_bytes=local_cache_bytes,
            shards_in_use=min(len(self.manifest.entries), LANES // gcd(world_size, LANES)),
        )
        self.store.check(self.manifest)
        local = isinstance(self.store, FolderStore)
        self.whole = WholeShards(Path(cache), shards=len(self.manifest.entries)) if local else None

    @property
    def image_size(self) -> int:
        """The image size S in pixels."""
        return self.manifest.identity.image_size

    @property
    def samples(self) -> int:
        """Number of samples in the cache that are not held out, which is the length of an epoch."""
        return self.order.samples

    @property
    def global_batch(self) -> int:
        """Samples per batch over all ranks."""
        return self.batch_size * self.world_size

    @property
    def steps_ahead(self) -> int:
        """How many steps before its first sample is read a remote shard is fetched: AHEAD of a shard, for all lanes."""
        if isinstance(self.store, FolderStore):
            return 0
        return 1 + int(AHEAD * self.samples / len(self.manifest.entries) * LANES / self.global_batch)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps after which every sample was seen at least once; the last batch may begin the next epoch."""
        return -(-self.samples // self.global_batch)

    def places(self, step: int) -> list[SamplePosition]:
        """Return the position in the cache of each of this rank's rows at a global step."""
        rows = self.order.rows(step, batch_size=self.batch_size, rank=self.rank, world_size=self.world_size)
        return rows if self.held_out is None else [self.held_out.kept(place) for place in rows]

    def indices(self, step: int) -> list[int]:
        """Return the place in the endless training sequence of each of this rank's rows at a global step."""
        first = step * self.global_batch + self.rank
        return list(range(first, first + self.global_batch, self.world_size))

    def keys(self, step: int) -> list[str]:
        """Return this rank's keys at a global step; reads nothing."""
        return [self.manifest.entries[place.shard].keys[place.sample] for place in self.places(step)]

    def batches(self, start_step: int = 0) -> Generator[Any, None, None]:
        """Iterate endlessly over this rank's batches (`Batch`, or what `transform` returns), from a global step on.

        Raises:
            InputError: a sample is damaged or cannot be decoded, or a shard was changed; names the shard, the key and the
                number of affected samples in that shard.
        """
        if start_step < 0:
            raise InputError(f"start_step={start_step} is negative")
        loader: DataLoader[Any] = DataLoader(
            _Reading(self, start_step),
            batch_size=None,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # otherwise iterators advance the global generator, and a resumed run would differ
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch


class _Reading(IterableDataset[Any]):
    """The dataset that runs in each worker; a worker knows its own steps and thus which shards it will read next.

    DataLoader takes one batch from each worker in turn, so worker w of W makes every W-th batch from start + w on. An
    error travels as a value, so that its message arrives unchanged; nothing comes after it.
    """

    def __init__(self, loader: ShardLoader, start_step: int) -> None:
        self._loader = loader
        self._start_step = start_step

    def __iter__(self) -> Iterator[Any]:
        loader = self._loader
        worker = get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        reader = ShardReader(loader.manifest, store=loader.store)
        ahead = stride * -(-loader.steps_ahead // stride)
        try:
            for step in count(self._start_step + first, stride):
                if ahead:
                    for shard in {place.shard for place in loader.places(step + ahead)}:
                        reader.expect(shard)
                batch = self._batch(reader, loader.places(step))
                yield batch if loader.transform is None else loader.transform(batch, loader.indices(step))
        except InputError as error:
            yield error
        finally:
            reader.close()

    def _batch(self, reader: ShardReader, places: list[SamplePosition]) -> Batch:
        loader = self._loader
        samples = [reader.read(*place) for place in places]
        try:
            for place, sample in zip(places, samples, strict=True):
                if loader.whole is not None and is_alone(sample.record):
                    loader.whole.check(place.shard, loader.manifest.entries[place.shard])
            return make_batch(samples, image_size=loader.image_size, records=loader.records)
        except InputError as error:
            damaged = next((place for place in places if self._damaged(reader, place)), None)
            entry = loader.manifest.entries[(damaged or places[0]).shard]
            others = "" if damaged is None else self._others(reader, damaged)
            raise InputError(
                f"{error}{others}; it is not trained on: {loader.store.remedy(entry)}, then run the same command again, it goes"
                " on from its last checkpoint"
            ) from error

    def _others(self, reader: ShardReader, place: SamplePosition) -> str:
        """Describe for an error message which other samples of the same shard are damaged."""
        entry = self._loader.manifest.entries[place.shard]
        bad = [key for number, key in enumerate(entry.keys) if self._damaged(reader, place._replace(sample=number))]
        named = f"{', '.join(bad[:NAMED])}{', ...' if len(bad) > NAMED else ''}"
        return f" (damaged in {entry.name}: {len(bad)} of {len(entry.keys)} samples, {named})"

    def _damaged(self, reader: ShardReader, place: SamplePosition) -> bool:
        try:
            make_batch([reader.read(*place)], image_size=self._loader.image_size, records=True)
        except InputError:
            return True
        return False
