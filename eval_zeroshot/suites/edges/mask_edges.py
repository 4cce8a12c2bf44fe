"""From masks to an edge map: SAM's zero-shot edge detection.

Source: Kirillov et al., "Segment Anything", arXiv:2304.02643, section 7.2 and appendix D.2. Two steps that the paper leaves
open are ours: what a mask's outer boundary is, see `outer_boundary`, and how edges are thinned, see `suppression`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.contract import MASK_STRIDE, MASK_THRESHOLD
from encoders.geometry import Shape
from encoders.sam import upscale_logits
from eval_zeroshot.predictors.protocol import MASK_PIXELS_PER_CALL
from eval_zeroshot.suites.edges.suppression import unit_range

# (row, column) of the neighbours in a 3 x 3 square, with their weights in Sobel's derivatives along x and along y
_SOBEL = [(row, column, column * (2 - row**2), row * (2 - column**2)) for row in (-1, 0, 1) for column in (-1, 0, 1)]


def mask_edges(logits: np.ndarray, *, shape: Shape, device: torch.device | str = "cpu") -> np.ndarray:
    """The strongest probability gradient at any mask's outer boundary, brought to [0, 1]; no mask, no edge.

    Args:
        logits: (N, S/4, S/4) float32 of N masks; some are brought to the photo's resolution at a time.
        shape: (height, width) of the photo.

    Returns:
        (H, W) float32, 0 to 1.
    """
    image_size = logits.shape[-1] * MASK_STRIDE
    step = max(1, MASK_PIXELS_PER_CALL // max(image_size**2, shape[0] * shape[1]))
    strongest = torch.zeros(shape[0] * shape[1], device=device)
    with torch.inference_mode():
        for start in range(0, len(logits), step):
            chunk = torch.from_numpy(logits[start : start + step, None]).to(device)
            full = upscale_logits(chunk, shape=shape, image_size=image_size)[:, 0]
            where = outer_boundary(full > MASK_THRESHOLD).nonzero(as_tuple=True)
            strength = probability_gradient(full, where)
            strongest.scatter_reduce_(0, where[1] * shape[1] + where[2], strength, "amax")
    return unit_range(strongest.reshape(shape).cpu().numpy())


def probability_gradient(logits: Tensor, where: tuple[Tensor, ...]) -> Tensor:
    """Length of Sobel's gradient of sigmoid(logits), the rim repeated outwards, at some pixels only.

    Args:
        logits: (N, H, W).
        where: K indices each into masks, rows and columns.

    Returns:
        (K,) float.
    """
    padded = F.pad(logits[None], (1, 1, 1, 1), mode="replicate")[0]
    mask, row, column = where
    along_x = along_y = torch.zeros(len(mask), device=logits.device)
    for down, right, x, y in _SOBEL:
        if x or y:
            probability = padded[mask, row + 1 + down, column + 1 + right].sigmoid()
            along_x, along_y = along_x + x * probability, along_y + y * probability
    return torch.hypot(along_x, along_y)


def outer_boundary(masks: Tensor) -> Tensor:
    """(N, H, W) bool -> the same: pixels outside a mask that touch it by a side or a corner."""
    padded = F.pad(masks, (1, 1, 1, 1))
    wide = padded[..., :-2] | padded[..., 1:-1] | padded[..., 2:]
    return (wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]) & ~masks
