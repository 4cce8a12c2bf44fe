"""BatchNorm whose statistics are used in training and never updated."""

from typing import Any

from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d that stays in eval mode; its weight and bias learn."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        """Stay in eval mode, whatever the mode."""
        return super().train(False)


class FrozenBatchNormAct2d(BatchNormAct2d):
    """timm's BatchNormAct2d that stays in eval mode."""

    def train(self, mode: bool = True) -> "FrozenBatchNormAct2d":
        """Stay in eval mode, whatever the mode."""
        frozen: FrozenBatchNormAct2d = super().train(False)
        return frozen


KINDS: dict[type, Any] = {nn.BatchNorm2d: FrozenBatchNorm2d, BatchNormAct2d: FrozenBatchNormAct2d}


def freeze_batchnorm(module: nn.Module) -> None:
    """Make every BatchNorm of a module use its statistics as they are, in place; names and state stay the same."""
    for child in module.modules():
        if type(child) in KINDS:
            child.__class__ = KINDS[type(child)]
            child.eval()
        elif isinstance(child, _BatchNorm) and type(child) not in KINDS.values():
            raise TypeError(f"{type(child).__name__} has no version whose statistics stay")
