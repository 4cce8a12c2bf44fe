"""Photos of a cache that are kept out of training, decided by their keys, with all views of a photo together.

A photo is held out if a hash of its key and a seed falls in the given share. So the choice stays when photos are added or
put into other shards; only where that leaves none, the photo with the lowest hash is held out.
"""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from encoders.errors import InputError
from shards.cache.manifest import Manifest
from shards.loading.sample_order import SamplePosition

VIEW_KEY_LENGTH = 72  # `shards.sources.views.view_key` cuts longer keys, each to the length of its own suffix
HASHES = 2**32


class HeldOutShare(NamedTuple):
    """Which photos of a cache are held out: a share, 0 < share < 1, and a seed."""

    share: float
    seed: int


class HeldOut:
    """The held-out samples of a cache; what is kept in memory grows with their number, not with the cache.

    Args:
        manifest: of the cache.
        rule: which photos.

    Raises:
        InputError: no photo is left to train on.
    """

    def __init__(self, manifest: Manifest, rule: HeldOutShare) -> None:
        limit = int(rule.share * HASHES)
        held, lowest = [], HASHES
        for entry in manifest.entries:
            hashes = photo_hashes(entry.keys, seed=rule.seed)
            held.append(np.flatnonzero(hashes < limit).astype(np.int32))
            lowest = min(lowest, int(hashes.min(initial=HASHES - 1)))
        if not any(map(len, held)):
            hashes_of = (photo_hashes(entry.keys, seed=rule.seed) for entry in manifest.entries)
            held = [np.flatnonzero(hashes == lowest).astype(np.int32) for hashes in hashes_of]
        self.kept_counts = [len(entry.keys) - len(one) for entry, one in zip(manifest.entries, held, strict=True)]
        if not any(self.kept_counts):
            raise InputError(f"holding out a share of {rule.share} leaves no photo of {manifest.folder} to train on; lower it")
        self._starts = np.cumsum([0, *map(len, held)])
        self._held = np.concatenate(held)
        self._before = self._held - np.concatenate([np.arange(len(one), dtype=np.int32) for one in held])

    def __len__(self) -> int:
        """Number of samples held out."""
        return len(self._held)

    def numbers(self, shard: int) -> np.ndarray:
        """(n,) int32, ascending: the held-out samples of a shard, counted from 0."""
        return self._held[self._starts[shard] : self._starts[shard + 1]]

    def kept(self, place: SamplePosition) -> SamplePosition:
        """Turn a sample's number among the kept ones of its shard into its number among all of them."""
        before = self._before[self._starts[place.shard] : self._starts[place.shard + 1]]
        return place._replace(sample=place.sample + int(np.searchsorted(before, place.sample, side="right")))


def photo_hashes(keys: Sequence[str], *, seed: int) -> np.ndarray:
    """(n,) uint32: a hash of each sample's photo and the seed, the same for all views of a photo.

    Source of the mixing: Wellons, "Prospecting for hash functions", 2018 (lowbias32).
    """
    codes = np.fromiter((crc32(photo_of(key).encode()) for key in keys), np.uint32, len(keys))
    mixed = codes ^ np.uint32((seed ^ (seed >> 32)) * 0x9E3779B1 % HASHES)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return mixed ^ (mixed >> np.uint32(16))


def photo_of(key: str) -> str:
    """Return what the keys of all views of a photo have in common; a key without a view is its own photo's."""
    photo, mark, view = key.rpartition("-v")
    return (photo if mark and view.isdigit() else key)[:VIEW_KEY_LENGTH]
