"""MobileSAM's names for TinyViT and timm's, which are ours.

Source: ChaoningZhang/MobileSAM, `mobile_sam/modeling/tiny_vit_sam.py`.
"""

import re
from collections.abc import Callable

# MobileSAM keeps the ImageNet head in its state dict; its forward ends with the neck and never reaches it.
TINY_VIT_UNUSED = {
    "image_encoder.norm_head.weight": (320,),
    "image_encoder.norm_head.bias": (320,),
    "image_encoder.head.weight": (1000, 320),
    "image_encoder.head.bias": (1000,),
}
_RULES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^patch_embed\.conv1\.", "patch_embed.seq.0."),
    (r"^patch_embed\.conv2\.", "patch_embed.seq.2."),
    (r"^stages\.(\d+)\.downsample\.", lambda found: f"layers.{int(found[1]) - 1}.downsample."),  # theirs ends a stage
    (r"^stages\.", "layers."),
    (r"\.conv\.weight$", ".c.weight"),
    (r"^neck\.reduce\.", "neck.0."),
    (r"^neck\.norm1\.", "neck.1."),
    (r"^neck\.smooth\.", "neck.2."),
    (r"^neck\.norm2\.", "neck.3."),
]


def tiny_vit_official(key: str) -> str:
    """Our key of a whole SAM with a TinyViT encoder -> MobileSAM's."""
    name = key.removeprefix("image_encoder.")
    if name == key:
        return key
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return f"image_encoder.{name}"
