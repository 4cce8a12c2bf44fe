"""Re-parameterisation: BatchNorm and parallel branches folded into single convolutions."""

import copy
from typing import Any

import torch
from torch import nn

from encoders.sam import Sam


def fuse(sam: Sam) -> Sam:
    """Return a new Sam in eval mode with a fused, equivalent image encoder; `sam` is not modified.

    RepViT and TinyViT are folded. An encoder with nothing to fold, or one that is folded already, is copied.
    """
    fused = copy.deepcopy(sam)
    fuse_module(fused.image_encoder)
    fused.fused = True
    return fused.eval()


@torch.no_grad()
def fuse_module(module: nn.Module) -> None:
    """Replace every part that has a `fuse` method (timm's reparameterisable blocks) by what it returns, in place.

    timm's `fuse` makes its convolution in float32, some also on the CPU; the part's dtype and device are kept here.
    """
    for name, child in module.named_children():
        fuse_child: Any = getattr(child, "fuse", None)
        if callable(fuse_child):
            like = next(child.parameters(), torch.empty(0))  # an absent head has no parameters
            setattr(module, name, fuse_child().to(device=like.device, dtype=like.dtype))
        else:
            fuse_module(child)
