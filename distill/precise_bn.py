"""BatchNorm statistics of a student taken again from the photos of a shard cache."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from torch import Tensor

from encoders.errors import InputError
from encoders.precise_batchnorm import precise_batchnorm
from encoders.preprocess import normalize_padded
from encoders.sam import Sam
from shards.loader import ShardLoader

PHOTOS = 1024
BATCH_SIZE = 8


def precise_from_cache(
    sam: Sam, cache: Path | str, *, photos: int = PHOTOS, batch_size: int = BATCH_SIZE, seed: int = 0
) -> Sam:
    """A new Sam in eval mode with the statistics of a cache's photos, see `precise_batchnorm`; `sam` is left as it is.

    Args:
        sam: not fused, of the cache's image size.
        cache: folder that `precompute` wrote; its photos are read, its teacher embeddings are not.
        photos: how many to take, at most; a cache that holds fewer gives all of its whole batches.
        batch_size: photos in a batch; best the one of training.
        seed: of the order, and so of which photos are taken where the cache holds more.

    Raises:
        InputError: no complete cache or one of another image size, too few photos for a batch, or as `precise_batchnorm`.
    """
    if photos < batch_size:
        raise InputError(f"{photos} photos are fewer than one batch of {batch_size}; take more, or smaller batches")
    loader = ShardLoader(cache, batch_size=batch_size, seed=seed)
    if loader.image_size != sam.image_size:
        raise InputError(
            f"the photos in {cache} are {loader.image_size} px, the model takes {sam.image_size}; "
            "give the cache that it was trained from"
        )
    return precise_batchnorm(sam, _images(loader, count=min(photos, loader.samples) // batch_size))


def _images(loader: ShardLoader, *, count: int) -> Iterator[Tensor]:
    """(B, 3, S, S) float32, normalised and padded."""
    batches = loader.batches()
    try:
        for batch in islice(batches, count):
            yield normalize_padded(batch.pixels, batch.shapes).contiguous()
    finally:
        batches.close()  # type: ignore[attr-defined]
