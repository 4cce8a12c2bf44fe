"""Activation checkpointing: the blocks of an encoder keep their input alone and are computed again in the backward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from encoders.errors import InputError


def checkpoint_blocks(encoder: nn.Module) -> None:
    """Make each block of an encoder's stages a checkpoint, in place; parameters and their names stay.

    Gradients are those without checkpoints. The second computation of a block does not update BatchNorm's running
    statistics, which would count every batch twice.

    Raises:
        InputError: the encoder has no `stages` of `blocks`.
    """
    stages = getattr(encoder, "stages", None)
    blocks = [block for stage in stages or () for block in getattr(stage, "blocks", ())]
    if not blocks:
        raise InputError(
            f"activation checkpointing knows encoders with stages of blocks, as RepViT and TinyViT; {type(encoder).__name__} "
            "has none: set compute.activation_checkpointing to false"
        )
    for block in blocks:
        block.forward = partial(_checkpointed, block, block.forward)


def _checkpointed(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first and of the second computation."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise with the batch's statistics and leave its running ones as they are.

    With a momentum of 0 they are computed as before, so that as many tensors are saved as the first time, but not moved.
    """
    norms = [part for part in block.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()  # it is counted up and then thrown away
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
