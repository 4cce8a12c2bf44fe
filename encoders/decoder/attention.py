"""The mask decoder's cross-attention between few tokens and many image positions, with fewer operations.

segment-anything projects all N places of the image to keys and values for each prompt (`modeling/transformer.py`,
`Attention`). Attention is linear in them, so the projections can be moved to the T tokens, of which there are a handful:
q (W k) = (Wᵀ q) k. The results differ by rounding only.

Shapes: B prompts, T tokens, N places in row-major order, C channels, h heads of d channels.
"""

from dataclasses import dataclass

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SharedProjections:
    """The first layer's projections of an image, shared by all its prompts without a mask: (h, N, d) each.

    Attributes:
        keys, values: what tokens attend to.
        queries: what attends to tokens.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


def split_heads(attention: Attention, projected: Tensor) -> Tensor:
    """(B, L, h * d) -> (B, h, L, d)."""
    return projected.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)


def tokens_to_image(
    attention: Attention, *, queries: Tensor, places: Tensor, values: Tensor, shared: SharedProjections | None = None
) -> Tensor:
    """`attention(q=queries, k=places, v=values)`.

    Args:
        queries: (B, T, C).
        places: (B, N, C), the image with its positions; values: (B, N, C), without. Both unused with `shared`.
        shared: of the image of all B prompts.

    Returns:
        (B, T, C).
    """
    query = split_heads(attention, attention.q_proj(queries))
    query = query * query.shape[-1] ** -0.5
    count, heads, length, size = query.shape
    if shared is not None:
        flat = query.transpose(0, 1).flatten(1, 2)  # (h, B * T, d): one image, so all prompts' tokens are one list
        mixed = torch.softmax(flat @ shared.keys.transpose(1, 2), dim=-1) @ shared.values
        out = mixed.unflatten(1, (count, length)).transpose(0, 1)
    else:
        # The keys' bias adds the same to all places of a token, which softmax does not see.
        folded = query @ attention.k_proj.weight.unflatten(0, (heads, size))
        weights = torch.softmax(folded.flatten(1, 2) @ places.transpose(1, 2), dim=-1)
        mixed = (weights @ values).unflatten(1, (heads, length))
        out = mixed @ attention.v_proj.weight.unflatten(0, (heads, size)).transpose(1, 2)
        out = out + attention.v_proj.bias.view(heads, 1, size)  # weights of a token sum to 1
    return attention.out_proj(out.transpose(1, 2).flatten(2))


def image_to_tokens(
    attention: Attention,
    *,
    places: Tensor,
    keys: Tensor,
    values: Tensor,
    image: Tensor,
    shared: SharedProjections | None = None,
) -> Tensor:
    """`image + attention(q=places, k=keys, v=values)`.

    Args:
        places: (B, N, C), unused with `shared`.
        keys, values: (B, T, C).
        image: (B, N, C).

    Returns:
        (B, N, C).
    """
    key = split_heads(attention, attention.k_proj(keys))
    key = key * key.shape[-1] ** -0.5
    count, heads, length, size = key.shape
    if shared is not None:
        flat = key.transpose(0, 1).flatten(1, 2) @ shared.queries.transpose(1, 2)
        scores = flat.unflatten(1, (count, length)).transpose(0, 1)
    else:
        folded = key @ attention.q_proj.weight.unflatten(0, (heads, size))
        bias = key @ attention.q_proj.bias.view(heads, size, 1)
        scores = torch.baddbmm(bias.flatten(1, 2), folded.flatten(1, 2), places.transpose(1, 2))
        scores = scores.unflatten(1, (heads, length))
    weights = torch.softmax(scores, dim=2).flatten(1, 2)  # (B, h * T, N): over a place's T tokens
    value = split_heads(attention, attention.v_proj(values))
    folded = (value @ attention.out_proj.weight.T.unflatten(0, (heads, size))).flatten(1, 2)
    summed = image + attention.out_proj.bias
    return summed.baddbmm_(weights.transpose(1, 2), folded)  # in place: this is as large as the image


def project_shared(tokens_to: Attention, image_to: Attention, *, image: Tensor, places: Tensor) -> SharedProjections:
    """Compute the first layer's projections of an image (1, N, C), with and without its positional encoding.

    Args:
        tokens_to: the layer's attention from tokens to the image; image_to: the other way.
    """
    return SharedProjections(
        keys=split_heads(tokens_to, tokens_to.k_proj(places))[0].contiguous(),
        values=split_heads(tokens_to, tokens_to.v_proj(image))[0].contiguous(),
        queries=split_heads(image_to, image_to.q_proj(places))[0].contiguous(),
    )
