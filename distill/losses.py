"""Losses between a student's and the teacher's embedding: pure functions of tensors.

Shapes: student and teacher (B, 256, h, w), valid (B, 1, h, w) bool, False on padding. Each sample counts the same
however much of it is padding, so the loss of a global batch does not depend on how ranks share it. `plain_mse` alone
counts padding too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.config.losses import EmbeddingLossConfig

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ChannelScale:
    """Normalises embeddings channel by channel, by the mean and deviation that the teacher's channels have.

    Args:
        mean, std: (1, 256, 1, 1) float32.
    """

    mean: Tensor
    std: Tensor

    def __call__(self, embedding: Tensor) -> Tensor:
        """(B, 256, h, w) -> the same shape, float32."""
        return (embedding.float() - self.mean) / self.std

    def to(self, device: torch.device) -> "ChannelScale":
        """Return the scale on a device; itself if it is there."""
        return self if self.mean.device == device else ChannelScale(self.mean.to(device), self.std.to(device))


def masked_mse(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean over samples of the mean over valid positions of the mean over channels of (s - t)^2.

    Source: EdgeSAM, `training/train.py` (its pixel-wise loss); MobileSAM's plain MSE where nothing is padding.
    """
    return _mean((student.float() - teacher.float()).square().mean(dim=1, keepdim=True), valid)


def plain_mse(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean over all positions, padding included, and all channels of (s - t)^2.

    Source: MobileSAM's distillation. Its teacher has values on padding; a cache has none there, so the target is 0.
    """
    return (student.float() - teacher.float()).square().mean()


def masked_l1(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Like `masked_mse`, of |s - t|."""
    return _mean((student.float() - teacher.float()).abs().mean(dim=1, keepdim=True), valid)


def masked_huber(student: Tensor, teacher: Tensor, valid: Tensor, *, delta: float) -> Tensor:
    """Like `masked_mse`, of d^2 / 2 where d = |s - t| is below delta, and delta (d - delta / 2) elsewhere."""
    loss = F.huber_loss(student.float(), teacher.float(), reduction="none", delta=delta)
    return _mean(loss.mean(dim=1, keepdim=True), valid)


def masked_cosine(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean of 1 - cosine over channels, over valid positions, then over samples."""
    return _mean(1 - F.cosine_similarity(student.float(), teacher.float(), dim=1)[:, None], valid)


TERMS: dict[str, Callable[..., Tensor]] = {
    "mse": masked_mse,
    "plain_mse": plain_mse,
    "l1": masked_l1,
    "huber": masked_huber,
    "cosine": masked_cosine,
}


def embedding_losses(
    student: Tensor,
    teacher: Tensor,
    valid: Tensor,
    *,
    weights: EmbeddingLossConfig,
    scale: ChannelScale | None = None,
) -> dict[str, Tensor]:
    """Named, weighted terms; a weight of zero leaves its term out.

    Args:
        scale: applied to both embeddings first; on their device. None where `weights.normalize` is "none".
    """
    if (scale is None) != (weights.normalize == "none"):
        raise ValueError(f"normalize is {weights.normalize}, but the scale is {scale}")
    if scale is not None:
        student, teacher = scale(student), scale(teacher)
    return {name: getattr(weights, name) * _term(name, weights)(student, teacher, valid) for name in loss_names(weights)}


def loss_names(weights: EmbeddingLossConfig) -> tuple[str, ...]:
    """Return the names of the terms that have a weight."""
    return tuple(name for name in TERMS if getattr(weights, name))


def _term(name: str, weights: EmbeddingLossConfig) -> Loss:
    return partial(TERMS[name], delta=weights.huber_delta) if name == "huber" else TERMS[name]


def _mean(loss: Tensor, valid: Tensor) -> Tensor:
    """(B, 1, h, w) -> scalar: mean over each sample's valid positions, then over samples."""
    keep = valid.to(loss.dtype)
    return ((loss * keep).sum(dim=(1, 2, 3)) / keep.sum(dim=(1, 2, 3)).clamp(min=1)).mean()
