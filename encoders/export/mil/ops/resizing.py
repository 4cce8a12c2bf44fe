"""Resize images and feature maps."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.registry import Call, operation

MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "UNALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS")


@operation("upsample_bilinear", "x scale_factor_height scale_factor_width align_corners half_pixel_centers")
def upsample_bilinear(call: Call) -> Tensor:
    """Resize to floor(size * factor); sample spacing is input size / output size, unless corners are aligned."""
    x = call.tensor("x")
    if call.flag("align_corners", True):
        return bilinear(x, size=_scaled(call, x), mode="STRICT_ALIGN_CORNERS")
    return bilinear(x, size=_scaled(call, x), mode="UNALIGN_CORNERS" if call.flag("half_pixel_centers", True) else "DEFAULT")


@operation("resize_bilinear", "x target_size_height target_size_width sampling_mode")
def resize_bilinear(call: Call) -> Tensor:
    """Resize to a given size, with one of five ways to place the samples."""
    mode = call.text("sampling_mode", "DEFAULT")
    if mode not in MODES:
        raise call.refuse(f"sampling_mode {mode!r} is not supported")
    size = call.integer("target_size_height", 1), call.integer("target_size_width", 1)
    return bilinear(call.tensor("x"), size=size, mode=mode)


@operation("upsample_nearest_neighbor", "x scale_factor_height scale_factor_width")
def upsample_nearest(call: Call) -> Tensor:
    """Resize to floor(size * factor); output index i takes input index floor(i * input size / output size)."""
    x = call.tensor("x")
    return nearest(x, size=_scaled(call, x))


@operation("resize_nearest_neighbor", "x target_size_height target_size_width")
def resize_nearest(call: Call) -> Tensor:
    """Resize to a given size by the nearest sample."""
    return nearest(call.tensor("x"), size=(call.integer("target_size_height"), call.integer("target_size_width")))


def _scaled(call: Call, x: Tensor) -> tuple[int, int]:
    factors = call.number("scale_factor_height", 1), call.number("scale_factor_width", 1)
    height, width = (math.floor(size * factor) for size, factor in zip(x.shape[-2:], factors, strict=True))
    return height, width


def nearest(x: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Resize (..., H, W) to (..., *size) by the nearest sample."""
    return F.interpolate(x.reshape(1, -1, *x.shape[-2:]), size=size, mode="nearest").reshape(*x.shape[:-2], *size)


def bilinear(x: Tensor, *, size: tuple[int, int], mode: str) -> Tensor:
    """Resize (..., H, W) to (..., *size) by linear interpolation at the `sample_points` of each axis."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        places = sample_points(x.shape[axis], wanted, mode=mode)
        low = places.floor().clamp(0, x.shape[axis] - 1)
        share = (places - low).to(torch.float32)
        share = share[:, None] if axis == -2 else share
        index = low.to(torch.int64)
        first = x.index_select(axis, index)
        second = x.index_select(axis, (index + 1).clamp(max=x.shape[axis] - 1))
        x = first + (second - first) * share
    return x


def sample_points(size: int, wanted: int, *, mode: str) -> Tensor:
    """Return (wanted,) float64 positions in 0 ... size - 1 at which the output is sampled.

    Source: coremltools, notes of `resize_bilinear` in `ops/defs/iOS15/image_resizing.py`.
    """
    steps = torch.arange(wanted, dtype=torch.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if wanted == 1:
            return steps + ((size - 1) / 2 if mode == "ALIGN_CORNERS" else 0)
        places = steps * ((size - 1) / (wanted - 1))
    elif mode == "UNALIGN_CORNERS":
        places = (steps + 0.5) * (size / wanted) - 0.5
    elif mode == "OFFSET_CORNERS":
        places = (steps + 0.5) * (max(1, size - 1) / wanted)
    else:  # DEFAULT, documented as (size - size / wanted) / (wanted - 1), which is the same
        places = steps * (size / wanted)
    return places.clamp(0, size - 1)
