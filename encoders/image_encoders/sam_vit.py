"""SAM's own image encoders, ViT-B, ViT-L and ViT-H: the teachers, with segment-anything's weights and outputs."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import PatchEmbed
from torch import Tensor, nn

from encoders.contract import EMBED_DIM, STRIDE, check_image_size
from encoders.image_encoders.sam_vit_attention import SamVitAttention
from encoders.image_encoders.token_linear import TokenLinear

WINDOW = 14  # tokens a side
MLP_RATIO = 4
NORM_EPS = 1e-6


@dataclass(frozen=True)
class SamVitSize:
    """Numbers of a variant.

    Attributes:
        width: channels of a token.
        depth: number of blocks.
        heads: attention heads of a block.
        global_blocks: indices of the blocks that attend over the whole image; the others use windows of 14 x 14.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]


SAM_VIT_SIZES = {
    "sam_vit_b": SamVitSize(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "sam_vit_l": SamVitSize(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "sam_vit_h": SamVitSize(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}


class SamVitEncoder(nn.Module):
    """segment-anything's ViT encoder, (B, 3, S, S) -> (B, 256, S/16, S/16), under its own parameter names.

    The outputs are `ImageEncoderViT`'s to rounding, gradients too; see `sam_vit_attention` and `token_linear` for what makes
    it faster. Source: segment-anything, `build_sam.py` and `image_encoder.py`.

    Args:
        name: a key of `SAM_VIT_SIZES`.
        image_size: S in pixels, a multiple of 64. The shapes of the position embeddings depend on it: SAM's released
            weights are for 1024.

    Raises:
        InputError: S is not a positive multiple of 64.
    """

    def __init__(self, name: str, *, image_size: int) -> None:
        super().__init__()
        size = SAM_VIT_SIZES[name]
        side = check_image_size(image_size) // STRIDE
        self.image_size = image_size
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, size.width))
        self.patch_embed = PatchEmbed(kernel_size=(STRIDE, STRIDE), stride=(STRIDE, STRIDE), embed_dim=size.width)
        self.blocks = nn.ModuleList(
            SamVitBlock(size, side=side, windowed=index not in size.global_blocks) for index in range(size.depth)
        )
        self.neck = nn.Sequential(  # SamNeck's layers under segment-anything's names
            nn.Conv2d(size.width, EMBED_DIM, kernel_size=1, bias=False),
            LayerNorm2d(EMBED_DIM),
            nn.Conv2d(EMBED_DIM, EMBED_DIM, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(EMBED_DIM),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        tokens = self.patch_embed(image) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        embedding: Tensor = self.neck(tokens.permute(0, 3, 1, 2))
        return embedding


class SamVitBlock(nn.Module):
    """A transformer block over a map of tokens. Source: segment-anything, `image_encoder.py` (`Block`).

    Args:
        size: numbers of the variant.
        side: tokens along a side of the map.
        windowed: attend inside windows of 14 x 14, else over the whole map.
    """

    def __init__(self, size: SamVitSize, *, side: int, windowed: bool) -> None:
        super().__init__()
        area = (WINDOW, WINDOW) if windowed else (side, side)
        self.norm1 = nn.LayerNorm(size.width, eps=NORM_EPS)
        self.attn = SamVitAttention(size.width, heads=size.heads, area=area, windowed=windowed)
        self.norm2 = nn.LayerNorm(size.width, eps=NORM_EPS)
        self.mlp = SamVitMlp(size.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class SamVitMlp(nn.Module):
    """Two linear layers around an exact GELU. Source: segment-anything, `common.py` (`MLPBlock`)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = TokenLinear(width, MLP_RATIO * width)
        self.lin2 = TokenLinear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return self.lin2(F.gelu(self.lin1(tokens)))
