"""Comparison of a fused encoder with the unfused one, including whether the comparison is meaningful.

A comparison on a fresh RepViT would mean little: its residual branches end in BatchNorms of weight 0, so 40 to 45 % of its
fused weights lie in all-zero tensors, and errors in half of the network would go unnoticed.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from encoders.errors import InputError
from encoders.fusion import fuse_module
from encoders.sam import Sam

MAX_DIFFERENCE = 1e-4  # largest difference by largest value, float32; measured: 1e-6 to 4e-5
MAX_ZERO_SHARE = 0.1  # of weights in tensors of zeros; TinyViT's own share when fresh is 0.7 %


def zero_weight_share(fused: nn.Module) -> float:
    """Return the share of a module's weights that are in all-zero tensors."""
    zeros = sum(p.numel() for p in fused.parameters() if not p.any())
    return zeros / max(1, sum(p.numel() for p in fused.parameters()))


def check_eval_mode(sam: Sam) -> None:
    """Raise InputError if any part of a model is in train mode.

    Raises:
        InputError: a part is in train mode; the message names it.
    """
    for name, part in sam.named_modules():
        if part.training:
            where = f"its {name}" if name else "it"
            raise InputError(f"the model is not in eval mode ({where} is training), where BatchNorm gives other results; "
                             "call sam.eval() first")


def randomize_batchnorm(module: nn.Module, *, seed: int = 0) -> None:
    """Set random statistics, weights and biases in every BatchNorm, in place and determined by the seed."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(like.shape, generator=generator)).to(like)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.copy_(uniform(part.running_mean, -0.2, 0.2))
                part.running_var.copy_(uniform(part.running_var, 0.5, 1.5))
                part.weight.copy_(uniform(part.weight, 0.5, 1.5))
                part.bias.copy_(uniform(part.bias, -0.2, 0.2))


def random_batchnorm_difference(encoder: nn.Module, images: Iterable[Tensor]) -> float | None:
    """Return `fusion_difference` for a copy of an encoder with random BatchNorm values; None if it has no BatchNorm."""
    if not any(isinstance(part, _BatchNorm) for part in encoder.modules()):
        return None
    changed = copy.deepcopy(encoder).eval()
    randomize_batchnorm(changed)
    fused = copy.deepcopy(changed)
    fuse_module(fused)
    return fusion_difference(changed, fused.eval(), images)


@torch.inference_mode()
def fusion_difference(encoder: nn.Module, fused: nn.Module, images: Iterable[Tensor]) -> float:
    """Return the largest difference of two encoders' embeddings relative to the largest value; NaN if either gives NaN."""
    worst = torch.zeros(())
    for image in images:
        expected, found = encoder(image), fused(image)
        difference = (expected - found).abs().max() / expected.abs().max().clamp(min=1e-12)
        worst = torch.maximum(worst.to(difference), difference)  # which keeps NaN, as Python's max does not
    return float(worst)


def check_fusion(difference: float, *, on: str) -> None:
    """Raise InputError if a fused encoder deviates too far from the unfused one.

    Raises:
        InputError: it does; the message says on which inputs.
    """
    if not difference <= MAX_DIFFERENCE:
        raise InputError(
            f"the fused encoder differs from the unfused one by {difference:.2g} of its largest value on {on}, at most "
            f"{MAX_DIFFERENCE:g} is allowed; its fuse() does not compute what its forward() does"
        )


def check_trained(share: float, *, name: str) -> None:
    """Raise InputError if a model's weights look untrained.

    Raises:
        InputError: more than a tenth of its weights lie in all-zero tensors.
    """
    if share > MAX_ZERO_SHARE:
        raise InputError(
            f"{name} looks untrained: {share:.1%} of its fused weights lie in all-zero tensors, where an error of the export "
            "would go unnoticed; give trained weights, or --untrained ARCH for a model with random BatchNorm"
        )
