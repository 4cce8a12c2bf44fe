"""The photos of a probe: which samples of a cache they are, and their batches with prompts, made once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distill.probe.prompts import PhotoPrompts, prompts_of
from encoders.errors import InputError
from shards import Batch, Manifest, ShardReader, make_batch
from shards.cache.storage import FolderStore, ShardStore
from shards.loading.held_out import HASHES, HeldOut, photo_hashes

GROUP = 4  # photos measured at a time: the masks of more would not fit beside a training


@dataclass(frozen=True, kw_only=True)
class ProbeBatch:
    """A few photos with P prompts, each given as a point and as a box.

    Attributes:
        photos: with the teacher's embeddings.
        image_index: (P,) int64, the photo of each prompt, ascending.
        points: (P, 1, 2) float32 xy; boxes: (P, 4) float32 xyxy; in pixels of the input frame.
        drawn: (P,) bool: the box is the teacher's to draw, from its mask for the point; it is 0 here.
    """

    photos: Batch
    image_index: Tensor
    points: Tensor
    boxes: Tensor
    drawn: Tensor


def choose(
    manifest: Manifest, *, held_out: HeldOut | None, photos: int, seed: int, whole_shards: bool
) -> list[tuple[int, int]]:
    """Return (shard, sample) of at most `photos` photos, one view of each: the whole photo where it was stored.

    Those with the lowest hashes are taken, as in `shards.loading.held_out`.

    Args:
        held_out: what to choose from; None: the whole cache.
        whole_shards: take them from few shards, those with the lowest hashes, as each shard of a URL is fetched whole.
    """
    numbers, hashes = [], []
    for shard, entry in enumerate(manifest.entries):
        found = np.arange(len(entry.keys), dtype=np.int32) if held_out is None else held_out.numbers(shard)
        keys = entry.keys if held_out is None else [entry.keys[number] for number in found.tolist()]
        numbers.append(found)
        hashes.append(photo_hashes(keys, seed=seed))
    order = list(range(len(hashes)))
    if whole_shards:
        count = 0
        chosen: list[int] = []
        for shard in sorted(order, key=lambda shard: int(hashes[shard].min(initial=HASHES - 1))):
            chosen.append(shard)
            count += len(np.unique(hashes[shard]))
            if count >= photos:
                break
        order = sorted(chosen)
    shards = np.repeat(order, [len(numbers[shard]) for shard in order])
    samples, values = (np.concatenate([parts[shard] for shard in order]) for parts in (numbers, hashes))
    _, first = np.unique(values, return_index=True)  # by hash; of a photo's views, which follow each other, the first
    return [(int(shards[index]), int(samples[index])) for index in first[:photos]]


def read_batches(
    manifest: Manifest, places: Sequence[tuple[int, int]], *, store: ShardStore | None, prompts: int
) -> list[ProbeBatch]:
    """Read samples and choose their prompts.

    Args:
        places: (shard, sample) of each.
        store: where the shards are; by default the manifest's folder.
        prompts: of a photo at most.

    Raises:
        InputError: a sample is damaged; names it and says what to do.
    """
    size = manifest.identity.image_size
    reader = ShardReader(manifest, store=store)
    batches = []
    try:
        for start in range(0, len(places), GROUP):
            chosen = places[start : start + GROUP]
            try:
                samples = [reader.read(shard, sample) for shard, sample in chosen]
                photos = make_batch(samples, image_size=size, records=True)
            except InputError as error:
                remedy = reader.store.remedy(manifest.entries[chosen[0][0]])
                raise InputError(f"{error}; the probe cannot be made: {remedy}, then run the same command again") from error
            of_photos = [prompts_of(record, image_size=size, most=prompts) for record in photos.records or []]
            batches.append(_joined(photos, of_photos))
    finally:
        reader.close()
    return batches


def _joined(photos: Batch, prompts: Sequence[PhotoPrompts]) -> ProbeBatch:
    counts = torch.tensor([len(one.points) for one in prompts])
    return ProbeBatch(
        photos=photos,
        image_index=torch.arange(len(prompts)).repeat_interleave(counts),
        points=torch.from_numpy(np.concatenate([one.points for one in prompts]))[:, None],
        boxes=torch.from_numpy(np.concatenate([one.boxes for one in prompts])),
        drawn=torch.tensor([one.drawn for one in prompts]).repeat_interleave(counts),
    )


def is_local(store: ShardStore) -> bool:
    """Return whether shards lie in a folder."""
    return isinstance(store, FolderStore)
