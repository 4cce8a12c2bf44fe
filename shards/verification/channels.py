"""Measuring the statistics of a cache's channels; see `shards.cache.channels`."""

from pathlib import Path

import numpy as np

from encoders.contract import EMBED_DIM
from encoders.errors import InputError
from shards.cache.channels import CHANNELS_FILE, DIGITS, ChannelStatistics, read_channels
from shards.cache.files import write_if_other
from shards.cache.manifest import Manifest
from shards.codec.records import parse_record
from shards.stores.objects import open_objects
from shards.stores.retry import is_url
from shards.verification.reading import opened_reader
from shards.verification.stats import check_whole

SAMPLES = 1000  # measured; of 2,752 positions each, far more than a mean and a deviation need
SHARDS = 16  # that they are taken from, as each is downloaded from an object store


def measure_channels(manifest: Manifest) -> ChannelStatistics:
    """Return the statistics over up to SAMPLES samples of a complete cache; a function of its content alone.

    Raises:
        InputError: the cache holds no sample, or one of those drawn is damaged.
    """
    sums, squares, positions = np.zeros(EMBED_DIM), np.zeros(EMBED_DIM), 0
    places = drawn([len(entry.keys) for entry in manifest.entries])
    if not places:
        raise InputError(f"the cache in {manifest.folder} holds no sample, so its channels have no statistics")
    with opened_reader(manifest) as reader:
        for shard, place in places:
            sample = reader.read(shard, place)
            check_whole(sample)
            rows, columns = parse_record(sample.record).codes.shape[1:]
            embedding = sample.embedding(image_size=manifest.identity.image_size)
            values = embedding[:, :rows, :columns].reshape(EMBED_DIM, -1).astype(np.float64)
            sums += values.sum(axis=1)
            squares += np.square(values).sum(axis=1)
            positions += values.shape[1]
    mean = sums / positions
    std = np.sqrt(np.maximum(squares / positions - mean**2, 0))
    return ChannelStatistics(
        manifest_sha256=manifest.sha256,
        samples=len(places),
        positions=positions,
        mean=[rounded(value) for value in mean],
        std=[rounded(value) for value in std],
    )


def write_channels(folder: Path | str) -> ChannelStatistics:
    """Write `channels.json` of a complete cache in a folder or an object store, unless it is there already; return it.

    Raises:
        InputError: the cache is unfinished or damaged, or cannot be written to.
    """
    manifest = Manifest.read(folder)
    try:
        return read_channels(manifest)
    except InputError:  # none, or not of this cache
        found = measure_channels(manifest)
    if is_url(folder):
        open_objects(str(folder)).put(CHANNELS_FILE, found.to_bytes())
    else:
        write_if_other(Path(folder) / CHANNELS_FILE, found.to_bytes())
    return found


def drawn(counts: list[int]) -> list[tuple[int, int]]:
    """Return the (shard number, sample within it) pairs to measure, in order: as many of each of at most SHARDS shards."""
    random = np.random.RandomState(0)  # keeps its stream in every release of numpy (NEP 19)
    filled = [shard for shard, count in enumerate(counts) if count]
    shards = sorted(filled[place] for place in random.permutation(len(filled))[:SHARDS])
    each = -(-SAMPLES // max(1, len(shards)))
    return [(shard, int(place)) for shard in shards for place in sorted(random.permutation(counts[shard])[:each])]


def rounded(value: float) -> float:
    """Round to DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")
