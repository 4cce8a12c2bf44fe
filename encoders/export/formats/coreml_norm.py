"""SAM's channel normalisation for computing in fp16, where the square of a value above 255 is infinite."""

import copy

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

SMALLEST = 2**-10  # of the largest deviation, so that nothing is divided by zero


class HalfLayerNorm2d(LayerNorm2d):
    """`LayerNorm2d` that divides the deviations by the largest one before squaring, so that no square exceeds 1; same result.

    Args:
        norm: the module whose weights are used.
    """

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__(len(norm.weight), eps=norm.eps)
        self.weight = norm.weight
        self.bias = norm.bias
        self.root_eps = float(norm.eps) ** 0.5

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        deviation = features - features.mean(1, keepdim=True)
        largest = deviation.abs().amax(1, keepdim=True).clamp(min=SMALLEST)
        scaled = deviation / largest
        variance = (scaled * scaled).mean(1, keepdim=True)
        eps = self.root_eps / largest
        normal = scaled / torch.sqrt(variance + eps * eps)
        return self.weight[:, None, None] * normal + self.bias[:, None, None]


def half_safe(module: nn.Module) -> nn.Module:
    """Return a copy of a module that computes the same, with every `LayerNorm2d` replaced by a `HalfLayerNorm2d`."""
    changed = copy.deepcopy(module)
    for name, part in list(changed.named_modules()):
        if isinstance(part, LayerNorm2d):
            parent, _, leaf = name.rpartition(".")
            setattr(changed.get_submodule(parent), leaf, HalfLayerNorm2d(part))
    return changed.eval()
