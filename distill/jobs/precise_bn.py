"""Precise BatchNorm statistics of a student, from the photos of a shard cache."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from torch import Tensor

from distill.jobs.progress import every_few_seconds
from encoders.errors import InputError
from encoders.precise_batchnorm import precise_batchnorm
from encoders.preprocess import normalize_padded
from encoders.sam import Sam
from shards.loading.loader import ShardLoader

PHOTOS = 1024
BATCH_SIZE = 8


def precise_from_cache(
    sam: Sam, cache: Path | str, *, photos: int = PHOTOS, batch_size: int = BATCH_SIZE, seed: int = 0
) -> Sam:
    """Recompute a student's BatchNorm statistics over photos of a cache, see `precise_batchnorm`; reports progress on stderr.

    Args:
        sam: not fused, of the cache's image size. It is not changed.
        cache: folder that `precompute` wrote; its photos are read, its teacher embeddings are not.
        photos: largest number of photos to use. Only whole batches are used, and each photo once.
        batch_size: photos in a batch, preferably that of training.
        seed: of the order of the photos, and so of which ones are used where the cache holds more.

    Returns:
        A copy of `sam` in eval mode with the new statistics.

    Raises:
        InputError: the cache is not complete or of another image size, there are too few photos for one batch, or
            `precise_batchnorm` refuses the model or the photos.
    """
    if photos < batch_size:
        raise InputError(f"{photos} photos are fewer than one batch of {batch_size}; use more photos or smaller batches")
    loader = ShardLoader(cache, batch_size=batch_size, seed=seed)
    if loader.image_size != sam.image_size:
        raise InputError(
            f"the photos in {cache} are stored for {loader.image_size} px, but the model takes {sam.image_size} px; "
            "give the cache that it was trained on"
        )
    return precise_batchnorm(sam, _images(loader, batches=min(photos, loader.samples) // batch_size))


def _images(loader: ShardLoader, *, batches: int) -> Iterator[Tensor]:
    """Yield (B, 3, S, S) float32 batches, normalised and padded; a line of progress follows when a batch has been used."""
    say, total = every_few_seconds(), batches * loader.batch_size
    stored = loader.batches()
    try:
        for number, batch in enumerate(islice(stored, batches), start=1):
            yield normalize_padded(batch.pixels, batch.sizes)
            say(f"BatchNorm statistics: photo {number * loader.batch_size}/{total}", last=number == batches)
    finally:
        stored.close()  # type: ignore[attr-defined]
