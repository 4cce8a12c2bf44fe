"""SAM's neck, which projects a stride-16 feature map to the embedding."""

from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from encoders.contract import EMBED_DIM


class SamNeck(nn.Module):
    """Project a stride-16 feature map to SAM's embedding.

    Source: segment-anything, `ImageEncoderViT.neck`; RepViT-SAM and MobileSAM use the same neck on their last stage.

    Args:
        in_channels: channels of the backbone's last stage (RepViT-M2.3: 640).
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, EMBED_DIM, kernel_size=1, bias=False)
        self.norm1 = LayerNorm2d(EMBED_DIM)
        self.smooth = nn.Conv2d(EMBED_DIM, EMBED_DIM, kernel_size=3, padding=1, bias=False)
        self.norm2 = LayerNorm2d(EMBED_DIM)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 256, H, W)."""
        return self.norm2(self.smooth(self.norm1(self.reduce(features))))
