"""From the decoder's logits to masks of the photo. Source: segment-anything, `Sam.postprocess_masks`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.contract import MASK_STRIDE, MASK_THRESHOLD
from encoders.geometry import Shape, resized_shape

PROMPTS_AT_A_TIME = 4  # upscaled: the frame of one mask at S = 1024 has 4 MiB


def upscale_logits(logits: Tensor, *, shape: Shape, image_size: int) -> Tensor:
    """(P, M, S/4, S/4) logits of an S x S frame -> (P, M, H, W) logits of the original image; SAM's `postprocess_masks`.

    The frame's padding, which SAM upscales and then cuts off, is cut off first, but for the row and column that
    interpolation looks at; the result is the same bit for bit.
    """
    height, width = resized_shape(shape, image_size=image_size)
    rows, columns = (min(image_size // MASK_STRIDE, -(-side // MASK_STRIDE) + 1) for side in (height, width))
    frame = F.interpolate(
        logits[..., :rows, :columns], (rows * MASK_STRIDE, columns * MASK_STRIDE), mode="bilinear", align_corners=False
    )
    return F.interpolate(frame[..., :height, :width], shape, mode="bilinear", align_corners=False)


def logits_to_masks(logits: Tensor, *, shape: Shape, image_size: int) -> Tensor:
    """(P, M, S/4, S/4) logits -> (P, M, H, W) bool: where the original image's logits are above SAM's threshold.

    torch rounds one channel otherwise than several. So that M = 4, all of the decoder's tokens, gives what M = 1 and M = 3
    give, the first of four is upscaled on its own.
    """
    masks = torch.empty(*logits.shape[:2], *shape, dtype=torch.bool, device=logits.device)
    groups = (slice(0, 1), slice(1, None)) if logits.shape[1] == 4 else (slice(None),)
    for start in range(0, len(logits), PROMPTS_AT_A_TIME):
        rows = slice(start, start + PROMPTS_AT_A_TIME)
        for tokens in groups:
            full = upscale_logits(logits[rows, tokens], shape=shape, image_size=image_size)
            masks[rows, tokens] = full > MASK_THRESHOLD
    return masks
