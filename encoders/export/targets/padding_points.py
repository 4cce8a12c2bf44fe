"""Correction of padding points inside a decoder, per prompt, independent of what the tool passes.

segment-anything appends one padding point, (0, 0) labelled -1, to a prompt without a box, and none to a prompt with a box. Some
tools always add that point, some never do, and some fill up short prompts with several. To SAM each is a token that changes the
answer. Here every prompt gets a padding point of its own, and nothing attends to those that segment-anything would not have. So
the graph has no branches, and a call can mix prompts with and without a box.

Source: segment-anything, `PromptEncoder._embed_points` and `modeling/transformer.py`.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from encoders.export.modules.prompt_decoder import PADDING, TOP_LEFT, PromptDecoder

OUTPUT_TOKENS = 5  # one for the predicted IoU, four for the masks
HIDDEN = -1e4  # added to an attention logit, so that its weight becomes 0


def decode_settled(decoder: PromptDecoder, image: Tensor, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Decode like `PromptDecoder.decode`, for prompts whose padding points may be missing, present or too many.

    Args:
        image: embedding plus the dense prompt embedding, (P or 1, 256, h, w).
        coords: (P, N, 2) xy in the input frame; labels: (P, N).

    Returns:
        logits (P, 4, 4h, 4w) and predicted IoU (P, 4).
    """
    coords, labels, hidden = settle_padding(coords, labels)
    seen = (hidden[:, :1] * 0).expand(-1, OUTPUT_TOKENS)
    transform = partial(masked_transform, decoder.mask_decoder.transformer, hidden=torch.cat([seen, hidden], dim=1))
    return decoder.decode(image, decoder.embed_points(coords, labels), transform=transform)


def settle_padding(coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Append a padding point to every prompt, and say which points to hide.

    Args:
        coords: (P, N, 2), labels: (P, N).

    Returns:
        coords (P, N + 1, 2), labels (P, N + 1), and hidden (P, N + 1), 1 for each point to hide: the padding points that were
        given, and the appended one if the prompt has a box.
    """
    zero = coords[:, :1] * 0
    absent = (labels == PADDING).to(coords.dtype)
    boxed = (labels >= TOP_LEFT).to(coords.dtype).amax(dim=1, keepdim=True)
    appended = torch.cat([labels, (zero[..., 0] + PADDING).to(labels.dtype)], dim=1)
    return torch.cat([coords, zero], dim=1), appended, torch.cat([absent, boxed], dim=1)


def masked_transform(
    transformer: Any, image: Tensor, positions: Tensor, tokens: Tensor, *, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """segment-anything's `TwoWayTransformer`, in which nothing attends to hidden tokens.

    Args:
        image: (P, C, h, w); positions: (1, C, h, w), its dense positional encoding; tokens: (P, T, C).
        hidden: (P, T), 1 for a hidden token, 0 for any other.

    Returns:
        tokens (P, T, C), the hidden ones among them without meaning, and image (P, h * w, C).
    """
    places, positions = image.flatten(2).transpose(1, 2), positions.flatten(2).transpose(1, 2)
    bias = (hidden * HIDDEN).unsqueeze(1).unsqueeze(1)
    queries = tokens
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = masked_attention(layer.self_attn, q=queries, k=queries, v=queries, bias=bias)
        else:
            placed = queries + tokens
            queries = queries + masked_attention(layer.self_attn, q=placed, k=placed, v=queries, bias=bias)
        queries = layer.norm1(queries)
        to_image = layer.cross_attn_token_to_image(q=queries + tokens, k=places + positions, v=places)
        queries = layer.norm2(queries + to_image)
        queries = layer.norm3(queries + layer.mlp(queries))
        to_tokens = masked_attention(
            layer.cross_attn_image_to_token, q=places + positions, k=queries + tokens, v=queries, bias=bias
        )
        places = layer.norm4(places + to_tokens)
    to_image = transformer.final_attn_token_to_image(q=queries + tokens, k=places + positions, v=places)
    return transformer.norm_final_attn(queries + to_image), places


def masked_attention(attention: Any, *, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """segment-anything's `Attention` with a bias added to its logits.

    Args:
        q: (P, L, C); k, v: (P, T, C); bias: (P, 1, 1, T).

    Returns:
        (P, L, C).
    """
    projected = (attention.q_proj(q), attention.k_proj(k), attention.v_proj(v))
    query, key, value = (attention._separate_heads(part, attention.num_heads) for part in projected)
    logits = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    mixed = torch.softmax(logits + bias, dim=-1) @ value
    out: Tensor = attention.out_proj(attention._recombine_heads(mixed))
    return out
