"""Batches of a cache for training, in the order of `shards.plan`."""

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from encoders.errors import InputError
from shards.batch import Batch, make_batch
from shards.manifest import Manifest
from shards.plan import ORDER_VERSION, Place, SampleOrder
from shards.reader import ShardReader


class ShardLoader:
    """This rank's part of every global batch of a cache.

    The order depends on the manifest, the seed and the global batch alone: 2 ranks of 4 see the batches of 1 rank of 8,
    rank r holding rows 4r .. 4r+3. Epochs follow each other without a seam, see `shards.plan`.

    Args:
        cache: folder that `precompute` wrote.
        batch_size: samples of this rank in a batch.
        rank, world_size: this process, and how many there are.
        seed: of the order.
        num_workers: processes that read and decode; 0 does it here.
        records: batches also carry each sample's json: original size, meta, annotations as RLE.

    Raises:
        InputError: no complete cache, a shard of another size than the manifest says, or fewer samples than one
            global batch.
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
        self.order = SampleOrder([len(entry.keys) for entry in self.manifest.entries], seed=seed)
        if self.samples < self.global_batch:
            raise InputError(
                f"the cache in {cache} holds {self.samples} samples, fewer than one global batch of {self.global_batch}"
                f" ({world_size} x {batch_size}); use a smaller batch or precompute more photos"
            )
        self.manifest.check_files()

    @property
    def image_size(self) -> int:
        """S in pixels."""
        return self.manifest.identity.image_size

    @property
    def samples(self) -> int:
        """Samples of the cache: the length of an epoch."""
        return self.order.samples

    @property
    def global_batch(self) -> int:
        """Samples of a batch over all ranks."""
        return self.batch_size * self.world_size

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every sample was seen at least once; the last batch may begin the next epoch."""
        return -(-self.samples // self.global_batch)

    @property
    def order_id(self) -> str:
        """What a checkpoint needs to remember beside its global step, to know that a resumed order is the same."""
        facts = f"{self.manifest.sha256} {self.seed} {self.global_batch} {ORDER_VERSION}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def places(self, step: int) -> list[Place]:
        """(shard number, sample within it) of each row of this rank at a global step."""
        return self.order.rows(step, batch_size=self.batch_size, rank=self.rank, world_size=self.world_size)

    def keys(self, step: int) -> list[str]:
        """The keys of this rank at a global step, without reading anything."""
        return [self.manifest.entries[shard].keys[place] for shard, place in self.places(step)]

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        """This rank's batches from a global step on, without end.

        Raises:
            InputError: a sample cannot be decoded or a shard was changed; names shard and key.
        """
        if start_step < 0:
            raise InputError(f"start_step={start_step} is negative")
        loader: DataLoader[Batch | InputError] = DataLoader(
            _Reading(self.manifest, records=self.records),
            batch_sampler=(self.places(step) for step in count(start_step)),  # type: ignore[arg-type]
            collate_fn=_same,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else each iterator draws from the global one, and resuming would shift it
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch


class _Reading(Dataset[Batch]):
    """From places to a batch; runs in a worker. An error travels as a value, so that its message arrives unchanged."""

    def __init__(self, manifest: Manifest, *, records: bool) -> None:
        self._reader = ShardReader(manifest)
        self._image_size = manifest.identity.image_size
        self._records = records

    def __getitems__(self, places: list[Place]) -> Batch | InputError:
        try:
            samples = [self._reader.read(shard, place) for shard, place in places]
            return make_batch(samples, image_size=self._image_size, records=self._records)
        except InputError as error:
            return error


def _same(batch: Any) -> Any:
    return batch
