"""Boxes on the device: those of masks, and those moved a little as in SAM's training."""

import math

import torch
from torch import Tensor

from distill.mask_stage.prompts import BOX_JITTER, BOX_JITTER_MAX, seeded_noise
from encoders.contract import MASK_STRIDE


def mask_boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """(P, S/4, S/4) bool -> boxes (P, 4) float32 xyxy in the input frame, and whether the mask has one, (P,) bool."""
    side = masks.shape[-1]
    edges = []
    for present in (masks.any(dim=1), masks.any(dim=2)):  # columns, rows
        ones = present.to(torch.uint8)
        edges.append((ones.argmax(dim=1), side - ones.flip(1).argmax(dim=1)))
    (left, right), (top, bottom) = edges
    there = masks.flatten(1).any(dim=1)
    boxes = torch.stack([left, top, right, bottom], dim=1) * there[:, None]
    return (boxes * MASK_STRIDE).float(), there


def jitter_boxes(boxes: Tensor, *, seeds: Tensor, image_size: int) -> Tensor:
    """(P, 4) float32 xyxy -> each coordinate moved as in SAM's training: sigma 10 % of the side, at most 20 / 1024 of S.

    What a box is moved by depends on its seed alone. Source: SAM paper, appendix A.
    """
    limit = BOX_JITTER_MAX * image_size / 1024
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    uniform = (seeded_noise(seeds, cells=4) + 2.0**-25).clamp(max=1 - 2.0**-24)  # inside (0, 1), where the sum rounds to 1 too
    normal = torch.erfinv(2 * uniform - 1) * math.sqrt(2)
    moved = (boxes + (BOX_JITTER * sides * normal).clamp(-limit, limit)).clamp(0, image_size)
    first, second = moved[:, :2], moved[:, 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=1)
