"""Losses between mask logits and targets, one value per prompt and mask: pure functions of tensors.

Shapes: logits (P, M, h, w); target (P, h, w) float, the share of each cell that is object, 0 to 1; valid (P, h, w) bool,
False on padding. Each returns (P, M).
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 1 / 256  # of the frame's cells, as a neighbourhood: 16 at 256 px
PRESENT = 1 / 32  # of a cell that counts as object: half of one of its 16 pixels, as a teacher's soft mask is never quite 0


def mask_loss(
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    weights: Mapping[str, float],
    object_weight: float = 1.0,
    soft: bool = False,
) -> Tensor:
    """Weighted sum of the terms; one of weight 0 is not computed, and without any the sum is 0.

    Args:
        weights: of `focal`, `bce` and `dice`; other keys are ignored.
        object_weight: of `bce`, see `bce_loss`.
        soft: whether the target is a probability that the mask should match: `dice` is then `soft_dice_loss`.
    """
    terms: dict[str, Callable[..., Tensor]] = {
        "focal": focal_loss,
        "bce": partial(bce_loss, object_weight=object_weight),
        "dice": soft_dice_loss if soft else dice_loss,
    }
    weighted = [weights[name] * term(logits, target, valid) for name, term in terms.items() if weights[name]]
    return torch.stack(weighted).sum(dim=0) if weighted else logits.new_zeros(logits.shape[:2])


def bce_loss(logits: Tensor, target: Tensor, valid: Tensor, *, object_weight: float = 1.0) -> Tensor:
    """Binary cross-entropy, summed over valid cells and divided by the cells of the object's box doubled each way.

    The object's part counts `object_weight` times: where the truth is uncertain, the logit is 0 at a probability of
    1 / (1 + object_weight).

    A mean over the frame leaves a small object almost no weight (16 of 4,096 cells); docs/log.md has what it cost.
    """
    object_weights = None if object_weight == 1 else logits.new_full((), object_weight)
    loss = F.binary_cross_entropy_with_logits(
        logits, _like(target, logits), reduction="none", pos_weight=object_weights
    )
    keep = valid[:, None].to(loss.dtype)
    return (loss * keep).sum(dim=(2, 3)) / _neighbourhood(target, valid)[:, None]


def _neighbourhood(target: Tensor, valid: Tensor) -> Tensor:
    """(P,) cells in the target's bounding box doubled in width and height, at most the valid ones.

    They are at least 16, and LEAST of the frame: one wrong mask of an object of a few cells must not decide a whole step.
    """
    present = target >= PRESENT
    rows, columns = present.any(dim=2).sum(dim=1), present.any(dim=1).sum(dim=1)
    cells = (4 * rows * columns).clamp(min=max(16, int(LEAST * target.shape[1] * target.shape[2])))
    return torch.minimum(cells, valid.sum(dim=(1, 2)).clamp(min=1)).to(target.dtype)


def focal_loss(logits: Tensor, target: Tensor, valid: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Focal loss without class balance, mean over valid cells (SAM paper, appendix A; Lin et al. 2017, gamma 2)."""
    target = _like(target, logits)
    probability = logits.sigmoid()
    distance = (probability - target).abs()
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * distance**gamma
    return _mean(loss, valid)


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - (2 |p t| + 1) / (|p| + |t| + 1) over valid cells (EdgeSAM, `training/utils.py`: the same smoothing).

    Where the target is a probability, it is minimal not at p = t but at a mask that is 1 wherever t exceeds about half the Dice
    coefficient.
    """
    return _dice(logits, target, valid, size=lambda share: share)


def soft_dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - (2 |p t| + 1) / (|p²| + |t²| + 1) over valid cells: least at p = t, also between 0 and 1.

    Source: V-Net, arXiv 1606.04797, section 3; with the smoothing of `dice_loss`.
    """
    return _dice(logits, target, valid, size=torch.square)


def _dice(logits: Tensor, target: Tensor, valid: Tensor, *, size: Callable[[Tensor], Tensor]) -> Tensor:
    keep = valid[:, None].to(logits.dtype)
    probability = logits.sigmoid() * keep
    target = _like(target, logits) * keep
    overlap = (probability * target).sum(dim=(2, 3))
    total = size(probability).sum(dim=(2, 3)) + size(target).sum(dim=(2, 3))
    return 1 - (2 * overlap + 1) / (total + 1)


def mask_iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """IoU of the thresholded mask (logits > 0) with the thresholded target (> 0.5) over valid cells; no gradient."""
    with torch.no_grad():
        prediction = (logits > 0) & valid[:, None]
        truth = (target > 0.5)[:, None] & valid[:, None]
        overlap = (prediction & truth).sum(dim=(2, 3)).float()
        union = (prediction | truth).sum(dim=(2, 3)).float()
        return torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union))


def _like(target: Tensor, logits: Tensor) -> Tensor:
    return target[:, None].to(logits.dtype).expand_as(logits)


def _mean(loss: Tensor, valid: Tensor) -> Tensor:
    keep = valid[:, None].to(loss.dtype)
    return (loss * keep).sum(dim=(2, 3)) / keep.sum(dim=(2, 3)).clamp(min=1)
