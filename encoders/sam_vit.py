"""SAM's own image encoders, ViT-B, ViT-L and ViT-H: the teachers."""

from dataclasses import dataclass
from functools import partial

from segment_anything.modeling import ImageEncoderViT
from torch import nn

from encoders.contract import EMBED_DIM, STRIDE, check_image_size


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


class SamVitEncoder(ImageEncoderViT):  # type: ignore[misc]  # segment-anything ships no types
    """segment-anything's ViT encoder, (B, 3, S, S) -> (B, 256, S/16, S/16), under its own parameter names.

    Source: segment-anything, `build_sam.py`.

    Args:
        name: a key of `SAM_VIT_SIZES`.
        image_size: S in pixels, a multiple of 64. The shapes of the position embeddings depend on it: SAM's released
            weights are for 1024.

    Raises:
        InputError: S is not a positive multiple of 64.
    """

    def __init__(self, name: str, *, image_size: int) -> None:
        size = SAM_VIT_SIZES[name]
        super().__init__(
            img_size=check_image_size(image_size),
            patch_size=STRIDE,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            mlp_ratio=4,
            out_chans=EMBED_DIM,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=size.global_blocks,
        )
        self.image_size = image_size
