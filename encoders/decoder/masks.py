"""Conversion of decoder logits to masks of the original photo. Source: segment-anything, `Sam.postprocess_masks`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.contract import MASK_STRIDE, MASK_THRESHOLD
from encoders.geometry import Shape, resized_shape

MARGIN = 2  # logits around a positive one: the first interpolation looks one further, the second another pixel of the frame


def upscale_logits(logits: Tensor, *, shape: Shape, image_size: int) -> Tensor:
    """(P, M, S/4, S/4) logits of an S x S frame -> (P, M, H, W) logits of the original image; SAM's `postprocess_masks`.

    The frame's padding, which SAM upscales and then cuts off, is cut off first, but for the row and column that
    interpolation looks at; the result is the same bit for bit.
    """
    height, width = resized_shape(shape, image_size=image_size)
    rows, columns = (_sides_kept(side, image_size) for side in (height, width))
    frame = F.interpolate(
        logits[..., :rows, :columns], (rows * MASK_STRIDE, columns * MASK_STRIDE), mode="bilinear", align_corners=False
    )
    return F.interpolate(frame[..., :height, :width], shape, mode="bilinear", align_corners=False)


def logits_to_masks(logits: Tensor, *, shape: Shape, image_size: int) -> Tensor:
    """Threshold logits at the original image's size: (P, M, S/4, S/4) float -> (P, M, H, W) bool.

    A prompt's masks are upscaled together, as SAM does, since torch rounds several channels otherwise than one. Of M = 4, all
    of the decoder's tokens, SAM has the first on its own.
    """
    count, channels = logits.shape[:2]
    masks = torch.zeros(count, channels, *shape, dtype=torch.bool, device=logits.device)
    groups = (slice(0, 1), slice(1, None)) if channels == 4 else (slice(None),)
    for index in range(count):
        for tokens in groups:
            some = logits[index, tokens]
            if logits.device.type == "cpu":
                full = _upscale_positive(some, shape=shape, image_size=image_size)
            else:  # to look where the mask is would wait for the device at each prompt
                full = upscale_logits(some[None], shape=shape, image_size=image_size)[0]
            if full is not None:
                torch.gt(full, MASK_THRESHOLD, out=masks[index, tokens])
    return masks


def _upscale_positive(logits: Tensor, *, shape: Shape, image_size: int) -> Tensor | None:
    """Upscale (M, S/4, S/4) logits to (M, H, W), exact for positive values, else any value <= 0; None if none is positive.

    Interpolation weighs with 0 to 1. So a pixel is above 0 only next to a logit that is, and the frame is needed only around
    those: the rest of it may be anything below 0.
    """
    height, width = resized_shape(shape, image_size=image_size)
    sides = [_sides_kept(side, image_size) for side in (height, width)]
    positive = (logits[:, : sides[0], : sides[1]] > MASK_THRESHOLD).any(dim=0)
    spans = [_span(positive.any(dim=1 - axis), margin=MARGIN) for axis in (0, 1)]
    if not spans[0][1]:
        return None
    (top, bottom), (left, right) = spans
    part = logits[None, :, top:bottom, left:right]
    size = (MASK_STRIDE * (bottom - top), MASK_STRIDE * (right - left))
    part = F.interpolate(part, size, mode="bilinear", align_corners=False)
    frame = part.new_full((1, len(logits), MASK_STRIDE * sides[0], MASK_STRIDE * sides[1]), -1)
    frame[..., MASK_STRIDE * top : MASK_STRIDE * bottom, MASK_STRIDE * left : MASK_STRIDE * right] = part
    return F.interpolate(frame[..., :height, :width], shape, mode="bilinear", align_corners=False)[0]


def _sides_kept(side: int, image_size: int) -> int:
    """Return how many rows or columns of logits the first `side` pixels of the frame depend on."""
    return min(image_size // MASK_STRIDE, -(-side // MASK_STRIDE) + 1)


def _span(line: Tensor, *, margin: int) -> tuple[int, int]:
    """Return start and end of the true range of (L,) bool, widened by a clipped margin; (0, 0) if nothing is true."""
    where = torch.nonzero(line)[:, 0]
    if not len(where):
        return 0, 0
    return max(0, int(where[0]) - margin), min(len(line), int(where[-1]) + 1 + margin)


def pick_masks(values: Tensor, which: Tensor) -> Tensor:
    """Return one mask, or one score, of each prompt: (P, M, ...), (P,) int64 -> (P, ...)."""
    return values[torch.arange(len(which), device=which.device), which]
