"""How firmly a mask's logits stand: what is left of it when its threshold moves."""

import numpy as np
import torch
from torch import Tensor

from encoders.contract import MASK_THRESHOLD

STABILITY_OFFSET = 1.0  # logits either side of the threshold, as in segment-anything's automatic mask generator


def stability_scores(logits: Tensor, *, of_empty: float, offset: float = STABILITY_OFFSET) -> np.ndarray:
    """IoU of a mask cut at logits `offset` above the threshold with the same cut `offset` below it.

    Source: segment-anything, `calculate_stability_score`, where it is NaN of a mask whose lower cut has no pixel.

    Args:
        logits: (..., H, W), at the resolution that counts and without padding.
        of_empty: the score of a mask whose lower cut has no pixel: 1 where scores tell how sure a model is, since both cuts
            agree, and 0 where they choose masks, since an empty one is never wanted.

    Returns:
        (...) float64.
    """
    firm = (logits > MASK_THRESHOLD + offset).sum(dim=(-2, -1), dtype=torch.int32)  # as int64 it takes 4 times as long
    loose = (logits > MASK_THRESHOLD - offset).sum(dim=(-2, -1), dtype=torch.int32)
    above, below = firm.cpu().numpy(), loose.cpu().numpy()
    return np.where(below == 0, of_empty, above / np.maximum(below, 1))
