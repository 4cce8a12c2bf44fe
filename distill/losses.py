"""Losses between a student's and the teacher's embedding: pure functions of tensors.

Shapes: student and teacher (B, 256, h, w), valid (B, 1, h, w) bool, False on padding. Each sample counts the same
however much of it is padding, so the loss of a global batch does not depend on how ranks share it.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from distill.config.runs import EmbeddingLossConfig

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def masked_mse(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean over samples of the mean over valid positions of the mean over channels of (s - t)^2.

    Source: EdgeSAM, `training/train.py` (its pixel-wise loss); MobileSAM's plain MSE where nothing is padding.
    """
    return _mean((student.float() - teacher.float()).square().mean(dim=1, keepdim=True), valid)


def masked_cosine(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean of 1 - cosine over channels, over valid positions, then over samples."""
    return _mean(1 - F.cosine_similarity(student.float(), teacher.float(), dim=1)[:, None], valid)


TERMS: dict[str, Loss] = {"mse": masked_mse, "cosine": masked_cosine}


def embedding_losses(
    student: Tensor, teacher: Tensor, valid: Tensor, *, weights: EmbeddingLossConfig
) -> dict[str, Tensor]:
    """Named, weighted terms; a weight of zero leaves its term out."""
    return {name: getattr(weights, name) * TERMS[name](student, teacher, valid) for name in loss_names(weights)}


def loss_names(weights: EmbeddingLossConfig) -> tuple[str, ...]:
    """Return the names of the terms that have a weight."""
    return tuple(name for name in TERMS if getattr(weights, name))


def _mean(loss: Tensor, valid: Tensor) -> Tensor:
    """(B, 1, h, w) -> scalar: mean over each sample's valid positions, then over samples."""
    keep = valid.to(loss.dtype)
    return ((loss * keep).sum(dim=(1, 2, 3)) / keep.sum(dim=(1, 2, 3)).clamp(min=1)).mean()
