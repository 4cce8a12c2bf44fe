"""Batches of the mask stage: made on the host in order of their prompts, then moved to the device without waiting."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from encoders.contract import MASK_STRIDE
from encoders.geometry import Shape
from encoders.preprocess import normalize_padded

SEED_SLOTS = 1000  # a prompt's seed modulo this decides whether it is refined, see `PromptGroup.refined`


@dataclass(frozen=True)
class PromptGroup:
    """G prompts of one kind on the device: the input of a round of decoding, and what its masks are compared with.

    Attributes:
        image_index: (G,) int64, the photo of each prompt.
        target: (G, S/4, S/4) float32, the share of each cell that is object.
        valid: (G, S/4, S/4) bool, False where a cell lies wholly on padding.
        seeds: (G,) int64, for what is drawn during the step (the click of the second round).
        slots: the seeds modulo SEED_SLOTS, on the host, in ascending order.
        boxes: (G, 4) float32 xyxy; points: (G, N, 2) float32 xy with labels (G, N); in pixels of the input frame.
    """

    image_index: Tensor
    target: Tensor
    valid: Tensor
    seeds: Tensor
    slots: Tensor
    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None

    def refined(self, share: float) -> "PromptGroup":
        """Return the first prompts, those whose slot lies in the first `share` of all slots.

        It goes by each prompt's own seed, so that a prompt is refined or not whatever else is in its batch.
        """
        count = int((self.slots < share * SEED_SLOTS).sum())  # on the host
        kept: dict[str, Any] = {field.name: _first(getattr(self, field.name), count) for field in fields(self)}
        return PromptGroup(**kept)


@dataclass(frozen=True)
class MaskBatch:
    """B photos and P = B x prompts_per_photo prompts; coordinates in the input frame.

    Attributes:
        keys: key of each photo.
        pixels: (B, 3, S, S) uint8, photos at the top left; sizes: (B, 2) int64, their (height, width).
        image_index: (P,) int64, the photo of each prompt.
        is_box: (P,) bool; boxes: (P, 4) float32 xyxy; points: (P, 1, 2) float32 xy. Only one of the two is the prompt.
        target: (P, S/4, S/4) float32, the share of each cell that is object.
        seeds: (P,) int64, for what is drawn during the step (the click of the second round).
    """

    keys: list[str]
    pixels: Tensor
    sizes: Tensor
    image_index: Tensor
    is_box: Tensor
    boxes: Tensor
    points: Tensor
    target: Tensor
    seeds: Tensor

    @property
    def shapes(self) -> list[Shape]:
        """(height, width) of each photo."""
        return [(height, width) for height, width in self.sizes.tolist()]

    def pin_memory(self) -> "MaskBatch":
        """Return the batch in page-locked memory; called by torch's DataLoader."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "keys"}
        return replace(self, **{name: tensor.pin_memory() for name, tensor in tensors.items()})

    def image(self, device: torch.device | str) -> Tensor:
        """(B, 3, S, S) float32, normalised and padded, on `device`."""
        pixels, sizes = (tensor.to(device, non_blocking=True) for tensor in (self.pixels, self.sizes))
        return normalize_padded(pixels, sizes)

    def groups(self, device: torch.device | str) -> list[PromptGroup]:
        """Return the box prompts and the point prompts on `device`: the prompt encoder takes one kind at a time.

        The batch must come from `merge`, which puts boxes first.
        """
        index, boxes, points, target, seeds, sizes = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.image_index, self.boxes, self.points, self.target, self.seeds, self.sizes)
        )
        valid = valid_cells(sizes, side=target.shape[-1])[index]
        slots, boxed = self.seeds % SEED_SLOTS, int(self.is_box.sum())
        groups = []
        for rows, is_box in ((slice(0, boxed), True), (slice(boxed, None), False)):
            if len(slots[rows]):
                clicks = points[rows]
                group = PromptGroup(
                    image_index=index[rows],
                    target=target[rows],
                    valid=valid[rows],
                    seeds=seeds[rows],
                    slots=slots[rows],
                    boxes=boxes[rows] if is_box else None,
                    points=None if is_box else clicks,
                    labels=None if is_box else torch.ones(clicks.shape[:2], dtype=torch.long, device=clicks.device),
                )
                groups.append(group)
        return groups


def merge(batches: Sequence[MaskBatch]) -> MaskBatch:
    """Concatenate batches and order their prompts: boxes first, then by slot, so that groups are slices."""
    counts = torch.tensor([0, *(len(batch.keys) for batch in batches[:-1])]).cumsum(0).tolist()
    index = torch.cat([batch.image_index + first for batch, first in zip(batches, counts, strict=True)])
    is_box, seeds = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("is_box", "seeds"))
    order = torch.argsort((~is_box).long() * SEED_SLOTS + seeds % SEED_SLOTS, stable=True)

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(batch, name) for batch in batches])

    return MaskBatch(
        keys=[key for batch in batches for key in batch.keys],
        pixels=joined("pixels"),
        sizes=joined("sizes"),
        image_index=index[order],
        is_box=is_box[order],
        boxes=joined("boxes")[order],
        points=joined("points")[order],
        target=joined("target")[order],
        seeds=seeds[order],
    )


def _first(value: Tensor | None, count: int) -> Tensor | None:
    return None if value is None else value[:count]


def valid_cells(sizes: Tensor, *, side: int) -> Tensor:
    """(B, 2) sizes -> (B, side, side) bool, False where a cell lies wholly on padding."""
    starts = torch.arange(0, side * MASK_STRIDE, MASK_STRIDE, device=sizes.device)
    return (starts < sizes[:, :1])[:, :, None] & (starts < sizes[:, 1:])[:, None, :]
