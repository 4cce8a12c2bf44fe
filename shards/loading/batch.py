"""Training batches: as produced by loader workers, and as used on the device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.contract import STRIDE
from encoders.geometry import Shape
from encoders.preprocess import normalize_padded, valid_positions
from shards.cache.shard_reader import StoredSample
from shards.codec.base import Coded
from shards.codec.records import get_codec, pad_codes


@dataclass(frozen=True, kw_only=True)
class DeviceBatch:
    """The input of a training step.

    Attributes:
        keys: of the B samples.
        image: (B, 3, S, S) float32, normalised, exactly 0 on padding; channels last in memory.
        teacher: (B, 256, S/16, S/16) float32, 0 on padding.
        valid: (B, 1, S/16, S/16) bool, False on padding.
        shapes: (height, width) of each photo in the input frame, pixels.
        records: `KEY.json` of each sample where the loader was asked for them, else None.
    """

    keys: list[str]
    image: Tensor
    teacher: Tensor
    valid: Tensor
    shapes: list[Shape]
    records: list[dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The output of a loader worker: integers only, no float arithmetic.

    Attributes:
        keys: of the B samples.
        pixels: (B, 3, S, S) uint8, the photo at the top left, 0 elsewhere; channels last in memory.
        sizes: (B, 2) int64, (height, width) of each photo in the input frame, pixels.
        codec: registry name.
        codes: (B, planes, S/16, S/16) in the codec's dtype, 0 on padding; see `shards.codec.base.Coded`.
        scales: (B, 256, numbers) float32.
        records: `KEY.json` of each sample where the loader was asked for them, else None.
    """

    keys: list[str]
    pixels: Tensor
    sizes: Tensor
    codec: str
    codes: Tensor
    scales: Tensor
    records: list[dict[str, Any]] | None = None

    @property
    def shapes(self) -> list[Shape]:
        """(height, width) of each photo in the input frame, pixels."""
        return [(height, width) for height, width in self.sizes.tolist()]

    def to_device(self, device: torch.device | str) -> DeviceBatch:
        """Move the batch to a device, then normalise, pad and dequantise it there; from pinned memory without waiting."""
        pixels, codes, scales, sizes = (
            tensor.to(device, non_blocking=True) for tensor in (self.pixels, self.codes, self.scales, self.sizes)
        )
        valid = valid_positions(sizes, image_size=pixels.shape[-1], device=device)
        return DeviceBatch(
            keys=self.keys,
            image=normalize_padded(pixels, sizes),
            teacher=get_codec(self.codec).dequantize(codes, scales) * valid,
            valid=valid,
            shapes=self.shapes,
            records=self.records,
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; called by torch's DataLoader."""
        return replace(
            self,
            pixels=self.pixels.pin_memory(),
            codes=self.codes.pin_memory(),
            scales=self.scales.pin_memory(),
            sizes=self.sizes.pin_memory(),
        )


def make_batch(samples: Sequence[StoredSample], *, image_size: int, records: bool = False) -> Batch:
    """Decode samples into a batch.

    Args:
        samples: of one cache.
        image_size: S in pixels.
        records: also parse and carry each sample's json.

    Raises:
        InputError: names the shard and key of a sample that is damaged or cannot be decoded.
    """
    side = image_size // STRIDE
    frames = np.empty((len(samples), image_size, image_size, 3), np.uint8)
    shapes: list[Shape] = []
    coded: list[Coded] = []
    for frame, sample in zip(frames, samples, strict=True):
        sample.check()
        pixels = sample.pixels()
        height, width = pixels.shape[:2]
        coded.append(sample.coded(shape=(height, width), image_size=image_size))
        frame[:height, :width] = pixels
        frame[height:] = 0
        frame[:height, width:] = 0
        shapes.append((height, width))
    (codec,) = {one.codec for one in coded}
    codes = np.empty((len(coded), len(coded[0].codes), side, side), coded[0].codes.dtype)
    for one, out in zip(coded, codes, strict=True):
        pad_codes(one.codes, side=side, out=out)
    return Batch(
        keys=[sample.key for sample in samples],
        pixels=torch.from_numpy(frames).permute(0, 3, 1, 2),
        sizes=torch.tensor(shapes, dtype=torch.int64),
        codec=codec,
        codes=torch.from_numpy(codes),
        scales=torch.from_numpy(np.stack([one.scales for one in coded])),
        records=[sample.json() for sample in samples] if records else None,
    )
