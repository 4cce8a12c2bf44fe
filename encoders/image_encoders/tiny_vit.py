"""MobileSAM's image encoder: timm's TinyViT blocks, last patch merging at stride 1, SAM's neck.

Source: ChaoningZhang/MobileSAM, `mobile_sam/modeling/tiny_vit_sam.py`.
"""

from typing import Any

import torch
from timm.models.tiny_vit import Attention, ConvNorm, TinyVit
from torch import Tensor, nn
from torch.nn import functional

from encoders.contract import check_image_size
from encoders.image_encoders.neck import SamNeck

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)  # positions; stage 0 is convolutional and ignores its entry


class WindowAttention(Attention):
    """timm's attention, its bias looked up in every forward.

    timm and MobileSAM keep the looked-up bias in eval mode, so that weights loaded after a forward (MobileSAM: after
    `.eval()`, as its own builder does) are used with the old bias. The look-up costs nothing that can be measured.
    """

    attention_bias_idxs: Tensor

    def get_attention_biases(self, device: torch.device) -> Tensor:
        """(heads, N, N) for N positions of a window.

        In training it is an embedding's look-up: the gradient of plain indexing is summed by a CPU's threads in whatever order
        they come, so that a run does not repeat.
        """
        if self.training:
            return functional.embedding(self.attention_bias_idxs, self.attention_biases.T).permute(2, 0, 1)
        return self.attention_biases[:, self.attention_bias_idxs]


class TinyVitEncoder(nn.Module):
    """TinyViT-5M as SAM's image encoder.

    Args:
        image_size: S in pixels, a multiple of 64; windows are padded where they do not fit, no parameter depends on it.
        last_stride: stride of the last patch merging. 1 keeps the last stage at stride 16.

    Raises:
        InputError: S is not a positive multiple of 64.
    """

    def __init__(self, *, image_size: int, last_stride: int = 1) -> None:
        super().__init__()
        self.image_size = check_image_size(image_size)
        network = TinyVit(
            num_classes=0,
            embed_dims=WIDTHS,
            depths=DEPTHS,
            num_heads=HEADS,
            window_sizes=WINDOWS,
            drop_path_rate=0.0,
        )
        stages: Any = network.stages
        stages[-1].downsample.conv2 = ConvNorm(WIDTHS[-1], WIDTHS[-1], 3, stride=last_stride, pad=1, groups=WIDTHS[-1])
        for stage, width, heads, window in list(zip(stages, WIDTHS, HEADS, WINDOWS, strict=True))[1:]:
            for block in stage.blocks:
                attention = WindowAttention(width, width // heads, heads, attn_ratio=1, resolution=(window, window))
                attention.load_state_dict(block.attn.state_dict())  # keeps timm's initialisation
                block.attn = attention
        self.patch_embed = network.patch_embed
        self.stages = network.stages
        self.neck = SamNeck(WIDTHS[-1])

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        embedding: Tensor = self.neck(self.stages(self.patch_embed(image)))
        return embedding
