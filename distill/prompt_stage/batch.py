"""Batches of the prompt stage: photos with their teacher's embeddings, and prompts on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from shards import Batch


@dataclass(frozen=True, kw_only=True)
class DrawnPrompts:
    """P prompts on the B photos of a batch, in pixels of the input frame: first boxes, then points.

    Attributes:
        image_index: (P,) int64, the photo of each prompt.
        points: (P, 1, 2) float32 xy: the prompt of a point; for the first `drawn` boxes, where the teacher is to draw them.
        boxes: (P, 4) float32 xyxy; 0 where there is none, or none yet.
        jittered: (P,) bool, whether the box is to be moved a little.
        seeds: (P,) int64, for what is drawn during the step.
        truth: (P, S/4, S/4) float32, the share of each cell that is object; None where it is not asked for.
        annotated: (P,) bool, whether the prompt has a true mask.
        drawn: number of boxes that the teacher draws; they come first. boxed: number of boxes, on the host.
    """

    image_index: Tensor
    points: Tensor
    boxes: Tensor
    jittered: Tensor
    seeds: Tensor
    truth: Tensor | None
    annotated: Tensor
    drawn: int
    boxed: int

    def to(self, device: torch.device | str) -> "DrawnPrompts":
        """Return the prompts on a device; from pinned memory without waiting."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "DrawnPrompts":
        """Return the prompts in page-locked memory."""
        return self._mapped(Tensor.pin_memory)

    def rows(self, first: int, last: int) -> "DrawnPrompts":
        """Return the prompts `first` to `last` - 1, all of which must be of one kind."""
        part = self._mapped(lambda tensor: tensor[first:last])
        return replace(part, drawn=0, boxed=last - first if first < self.boxed else 0)

    def kinds(self) -> Iterator["DrawnPrompts"]:
        """Yield the boxes and the points, those that there are: the prompt encoder takes one kind at a time."""
        for first, last in ((0, self.boxed), (self.boxed, len(self.image_index))):
            if last > first:
                yield self.rows(first, last)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "DrawnPrompts":
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **changed)


@dataclass(frozen=True)
class PromptedBatch:
    """Photos with their teacher's embeddings, as the loader gives them, and prompts on them."""

    photos: Batch
    prompts: DrawnPrompts

    @property
    def keys(self) -> list[str]:
        """Key of each photo."""
        return self.photos.keys

    def pin_memory(self) -> "PromptedBatch":
        """Return the batch in page-locked memory; called by torch's DataLoader."""
        return PromptedBatch(self.photos.pin_memory(), self.prompts.pin_memory())
