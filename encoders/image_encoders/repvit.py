"""RepViT-SAM image encoders: timm's RepViT blocks, last downsample at stride 1, SAM's neck.

Source: THU-MIG/RepViT, `sam/repvit_sam/modeling/repvit.py` (M2.3) and `model/repvit.py` (all six widths).
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from timm.models.repvit import ConvNorm, RepVggDw, RepVit
from torch import Tensor, nn

from encoders.contract import check_image_size
from encoders.image_encoders.neck import SamNeck


@dataclass(frozen=True)
class RepVitSize:
    """Numbers of a variant.

    Attributes:
        widths: channels of the four stages.
        depths: blocks of the four stages without the extra block before each downsample, as timm counts them.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]

    @property
    def rows(self) -> int:
        """Entries of the original's table: blocks, and two a downsample: itself and the block before it."""
        return sum(self.depths) + 2 * (len(self.widths) - 1)


REPVIT_SIZES = {
    "repvit_m0_6": RepVitSize(widths=(40, 80, 160, 320), depths=(1, 1, 8, 1)),
    "repvit_m0_9": RepVitSize(widths=(48, 96, 192, 384), depths=(2, 2, 14, 2)),
    "repvit_m1_0": RepVitSize(widths=(56, 112, 224, 448), depths=(2, 2, 14, 2)),
    "repvit_m1_1": RepVitSize(widths=(64, 128, 256, 512), depths=(2, 2, 12, 2)),
    "repvit_m1_5": RepVitSize(widths=(64, 128, 256, 512), depths=(4, 4, 24, 4)),
    "repvit_m2_3": RepVitSize(widths=(80, 160, 320, 640), depths=(6, 6, 34, 2)),
}


class TokenMixer(RepVggDw):
    """timm's `RepVggDw` with its 1 x 1 depthwise convolution and its identity as one product.

    Parameters, names and fusing are timm's. PyTorch computes such a convolution channel by channel where it has one thread of
    a CPU, as each of several processes has: it took a quarter of a training step of RepViT-M0.6 at 256 px.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        pointwise, norm = cast(nn.Conv2d, self.conv1), cast(nn.BatchNorm2d, self.bn)  # otherwise only in timm's legacy form
        assert pointwise.bias is not None
        scale, shift = (parameter.view(1, -1, 1, 1).to(x.dtype) for parameter in (1 + pointwise.weight, pointwise.bias))
        mixed: Tensor = norm(torch.addcmul(self.conv(x) + shift, x, scale))
        return mixed


def build_classifier(name: str, *, num_classes: int = 1000, distillation: bool = False) -> RepVit:
    """The ImageNet network of a variant, with the original's one head or, for `distillation`, two.

    Args:
        name: a key of `REPVIT_SIZES`.
        num_classes: 0 gives a network that is used for its `stem` and `stages` only.
        distillation: a second head, as the published checkpoints have.
    """
    size = REPVIT_SIZES[name]
    network = RepVit(embed_dim=size.widths, depth=size.depths, num_classes=num_classes, distillation=distillation)
    for module in network.modules():
        if type(module) is RepVggDw:
            module.__class__ = TokenMixer
    return network


class RepVitEncoder(nn.Module):
    """RepViT as SAM's image encoder.

    Args:
        name: a key of `REPVIT_SIZES`.
        image_size: S in pixels, a multiple of 64; no parameter depends on it.
        last_stride: stride of the last downsample. 1 keeps the last stage at stride 16, 2 classifies.

    Raises:
        InputError: S is not a positive multiple of 64.
    """

    def __init__(self, name: str, *, image_size: int, last_stride: int = 1) -> None:
        super().__init__()
        self.image_size = check_image_size(image_size)
        self.name = name
        self.size = REPVIT_SIZES[name]
        network = build_classifier(name, num_classes=0)
        before_last = self.size.widths[-2]
        last: Any = network.stages[-1]
        last.downsample.spatial_downsample = ConvNorm(
            before_last, before_last, 3, stride=last_stride, pad=1, groups=before_last
        )
        self.stem = network.stem
        self.stages = network.stages
        self.neck = SamNeck(self.size.widths[-1])

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        embedding: Tensor = self.neck(self.stages(self.stem(image)))
        return embedding
