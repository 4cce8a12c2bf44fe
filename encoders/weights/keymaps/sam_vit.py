"""timm's and HuggingFace's names for SAM's ViT, and what SAM-HQ adds to SAM; segment-anything's names are ours.

Sources: timm, `vision_transformer_sam.py` (`checkpoint_filter_fn`); transformers, `models/sam/modeling_sam.py` and
`models/sam_hq/modeling_sam_hq.py`; SysCV/sam-hq, `segment_anything/modeling/mask_decoder_hq.py`.
"""

import re

_HF_POSITIONS = "positional_embedding"
_HF_RULES = [
    (r"^image_encoder\.", "vision_encoder."),
    (r"^(vision_encoder\.)blocks\.", r"\1layers."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", f".shared_embedding.{_HF_POSITIONS}"),
    (r"^prompt_encoder\.shared_embedding\.", "shared_image_embedding."),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(\.output_hypernetworks_mlps\.\d|\.iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(\.output_hypernetworks_mlps\.\d|\.iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(\.output_hypernetworks_mlps\.\d|\.iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
]
# transformers ties the two; older files hold both.
HF_SAME = {f"prompt_encoder.shared_embedding.{_HF_POSITIONS}": f"shared_image_embedding.{_HF_POSITIONS}"}
HQ_TOKEN, HF_HQ_TOKEN = "mask_decoder.hf_token.weight", "mask_decoder.hq_token.weight"
_WIDTH, _SMALL = 256, 32  # channels of the embedding, and of the decoder's upscaled map


def timm_key(key: str) -> str:
    """Our key of a SAM ViT's image encoder -> timm's."""
    return key.removeprefix("image_encoder.").replace(".mlp.lin", ".mlp.fc")


def huggingface_key(key: str) -> str:
    """Our key of a whole SAM with a ViT -> that of HuggingFace's SamModel."""
    for pattern, replacement in _HF_RULES:
        key = re.sub(pattern, replacement, key)
    return key


def hq_head(vit_width: int) -> dict[str, tuple[int, ...]]:
    """SAM-HQ's own keys, with their shapes: its output token and the convolutions of its finer features.

    Args:
        vit_width: channels of the image encoder's early features: the ViT's width, 160 of TinyViT.
    """
    parts = {
        "hf_token.weight": (1, _WIDTH),
        **_linear("hf_mlp.layers.0", _WIDTH, _WIDTH),
        **_linear("hf_mlp.layers.1", _WIDTH, _WIDTH),
        **_linear("hf_mlp.layers.2", _SMALL, _WIDTH),
        **_spread("compress_vit_feat", ("0", "1", "3"), vit_width, _WIDTH),
        **_spread("embedding_encoder", ("0", "1", "3"), _WIDTH, _WIDTH // 4),
        **_smooth("embedding_maskfeature", ("0", "1", "3")),
    }
    return {f"mask_decoder.{key}": shape for key, shape in parts.items()}


def huggingface_hq_head(vit_width: int) -> dict[str, tuple[int, ...]]:
    """`hq_head` under the names of HuggingFace's SamHQModel."""
    parts = {
        "hq_token.weight": (1, _WIDTH),
        **_linear("hq_mask_mlp.proj_in", _WIDTH, _WIDTH),
        **_linear("hq_mask_mlp.layers.0", _WIDTH, _WIDTH),
        **_linear("hq_mask_mlp.proj_out", _SMALL, _WIDTH),
        **_spread("compress_vit", ("conv1", "norm", "conv2"), vit_width, _WIDTH, joint="_"),
        **_spread("encoder", ("conv1", "norm", "conv2"), _WIDTH, _WIDTH // 4, joint="_"),
        **_smooth("mask", ("conv1", "norm", "conv2"), joint="_"),
    }
    return {f"mask_decoder.{key}": shape for key, shape in parts.items()}


def _linear(name: str, out: int, given: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, given), f"{name}.bias": (out,)}


def _spread(
    name: str, parts: tuple[str, str, str], given: int, middle: int, *, joint: str = "."
) -> dict[str, tuple[int, ...]]:
    """Two transposed convolutions of kernel 2 with a norm between them."""
    first, norm, second = (f"{name}{joint}{part}" for part in parts)
    return {
        f"{first}.weight": (given, middle, 2, 2), f"{first}.bias": (middle,),
        f"{norm}.weight": (middle,), f"{norm}.bias": (middle,),
        f"{second}.weight": (middle, _SMALL, 2, 2), f"{second}.bias": (_SMALL,),
    }  # fmt: skip


def _smooth(name: str, parts: tuple[str, str, str], *, joint: str = ".") -> dict[str, tuple[int, ...]]:
    """Two 3 x 3 convolutions with a norm between them."""
    first, norm, second = (f"{name}{joint}{part}" for part in parts)
    middle = _WIDTH // 4
    return {
        f"{first}.weight": (middle, _SMALL, 3, 3), f"{first}.bias": (middle,),
        f"{norm}.weight": (middle,), f"{norm}.bias": (middle,),
        f"{second}.weight": (_SMALL, middle, 3, 3), f"{second}.bias": (_SMALL,),
    }  # fmt: skip
