"""Any timm backbone that gives multi-scale features, with a neck that brings them to SAM's embedding."""

from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.contract import EMBED_DIM, STRIDE, check_image_size
from encoders.image_encoders.neck import SamNeck


class TimmFeaturesEncoder(nn.Module):
    """A timm `features_only` backbone, its stages brought to stride 16 and summed, then SAM's neck.

    Finer stages are folded into channels (pixel unshuffle) rather than pooled, so that an embedding position keeps the
    detail of its 16 x 16 pixels, which the mask decoder draws at stride 4; coarser stages are interpolated.

    Args:
        backbone: timm model name, e.g. "tf_efficientnet_lite0".
        image_size: S, a multiple of 64.
        min_stride: finest stage used, in pixels; 4 keeps the most detail.
    """

    def __init__(self, backbone: str, *, image_size: int, min_stride: int = 4) -> None:
        super().__init__()
        self.image_size = check_image_size(image_size)
        probe: Any = timm.create_model(backbone, pretrained=False, features_only=True)
        self.strides = [stride for stride in probe.feature_info.reduction() if stride >= min_stride]
        indices = [i for i, stride in enumerate(probe.feature_info.reduction()) if stride >= min_stride]
        features: Any = timm.create_model(backbone, pretrained=False, features_only=True, out_indices=indices)
        self.backbone = features
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels * max(1, STRIDE // stride) ** 2, EMBED_DIM, kernel_size=1)
            for channels, stride in zip(features.feature_info.channels(), self.strides, strict=True)
        )
        self.neck = SamNeck(EMBED_DIM)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        return self.merge(self.backbone(image))

    def merge(self, features: list[Tensor]) -> Tensor:
        """The stages' feature maps -> (B, 256, S/16, S/16)."""
        maps = []
        for feature, stride, lateral in zip(features, self.strides, self.laterals, strict=True):
            if stride < STRIDE:
                feature = F.pixel_unshuffle(feature, STRIDE // stride)
            merged = lateral(feature)
            if stride > STRIDE:
                merged = F.interpolate(merged, scale_factor=stride / STRIDE, mode="bilinear", align_corners=False)
            maps.append(merged)
        return self.neck(torch.stack(maps).sum(dim=0))
