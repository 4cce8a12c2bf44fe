"""segment-anything's mask decoder for inference on a CPU, computing what all prompts of an image share only once.

The modules stay segment-anything's own and are read as they are at each call; only the order of the arithmetic is another, so
logits differ by rounding. Batching prompts alone gains nothing on a CPU. What does:

- an image without mask prompts is the same for all its prompts until the first layer changes it: its projections are shared;
- further projections of the image are moved to the tokens, see `decoder_attention`;
- upscaling is a chain of products on places, for the mask tokens asked for, see `decoder_upscaling`;
- a few prompts at a time, so that what is computed of them stays in the processor's cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

from encoders.decoder.attention import SharedProjections, image_to_tokens, project_shared, tokens_to_image
from encoders.decoder.upscaling import mask_logits

BLOCK_PROMPTS = 2  # decoded at a time: of more, what is between two steps neither stays in the cache nor in the heap
MIN_TO_SHARE = 3  # prompts of an image from which on projecting it once is less work than folding it into each
MAX_TOKENS = 24  # sparse ones of a prompt: moving projections to more tokens is no gain


@dataclass(frozen=True, kw_only=True)
class EmbeddedPrompts:
    """P embedded prompts: sparse (P, T, C), dense (P, C, rows, columns), the same for all without masks."""

    sparse: Tensor
    dense: Tensor
    has_masks: bool


def fits(decoder: nn.Module, *, prompts: EmbeddedPrompts) -> bool:
    """Whether to decode by `decode_spread`: on a CPU, without autograd or autocast, some prompts of a few tokens each, by
    segment-anything's own decoder without hooks, so that its parameters determine its result.

    A GPU is faster with the stock decoder, which launches a fifth of the kernels and takes many prompts at a time.
    """
    return (
        prompts.sparse.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled(prompts.sparse.device.type)
        and len(prompts.sparse) > 0
        and prompts.sparse.shape[1] <= MAX_TOKENS
        and type(decoder) is MaskDecoder
        and type(decoder.transformer) is TwoWayTransformer
        and not any(part._forward_hooks or part._forward_pre_hooks for part in decoder.modules())
    )


def decode_spread(
    decoder: MaskDecoder, *, embeddings: Tensor, image_index: Tensor, positions: Tensor, prompts: EmbeddedPrompts, tokens: slice
) -> tuple[Tensor, Tensor]:
    """Masks for P prompts spread over B images.

    Args:
        embeddings: (B, C, rows, columns); positions: (1, C, rows, columns), the dense positional encoding.
        image_index: (P,) int64, the image of each prompt.
        prompts: what the prompt encoder made of them.
        tokens: which of the four mask tokens.

    Returns:
        logits (P, M, S/4, S/4) and predicted IoU (P, M).
    """
    places, parts = as_places(positions), []
    if prompts.has_masks:
        for rows in _blocks(prompts.sparse):
            images = as_places(embeddings[image_index[rows]] + prompts.dense[rows])
            parts.append(_decode_block(decoder, images, places, prompts.sparse[rows], tokens, None))
        return _join(parts)
    order = []
    for index in image_index.unique().tolist():
        own = torch.nonzero(image_index == index)[:, 0]
        image = as_places(embeddings[index : index + 1] + prompts.dense[:1])
        parts.append(decode(decoder, image=image, positions=places, sparse=prompts.sparse[own], tokens=tokens))
        order.append(own)
    logits, scores = _join(parts)
    if len(order) == 1:
        return logits, scores
    back = torch.cat(order).argsort()
    return logits[back], scores[back]


def decode(
    decoder: MaskDecoder, *, image: Tensor, positions: Tensor, sparse: Tensor, tokens: slice
) -> tuple[Tensor, Tensor]:
    """Masks for P prompts of one image, none of them with a mask.

    Args:
        image: (1, N, C), the embedding plus that of "no mask"; positions: (1, N, C), the dense positional encoding.
        sparse: (P, T, C), the embedded points and boxes.
        tokens: which of the four mask tokens.

    Returns:
        logits (P, M, S/4, S/4) and predicted IoU (P, M).
    """
    shared = None
    if len(sparse) >= MIN_TO_SHARE:
        first = decoder.transformer.layers[0]
        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        shared = project_shared(to_image, to_tokens, image=image, places=image + positions)
    parts = []
    for rows in _blocks(sparse):
        some = sparse[rows]
        parts.append(_decode_block(decoder, image.expand(len(some), -1, -1), positions, some, tokens, shared))
    return _join(parts)


def as_places(grid: Tensor) -> Tensor:
    """(B, C, rows, columns) -> (B, rows * columns, C), row-major."""
    return grid.flatten(2).transpose(1, 2).contiguous()


def _blocks(prompts: Tensor) -> Iterator[slice]:
    """Yield the rows of the prompts to decode at a time."""
    for start in range(0, len(prompts), BLOCK_PROMPTS):
        yield slice(start, start + BLOCK_PROMPTS)


def _join(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    logits, scores = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return logits, scores


def _decode_block(
    decoder: MaskDecoder,
    image: Tensor,
    positions: Tensor,
    sparse: Tensor,
    tokens: slice,
    shared: SharedProjections | None,
) -> tuple[Tensor, Tensor]:
    output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    points = torch.cat([output.expand(len(sparse), -1, -1), sparse], dim=1)
    queries, image = _transform(decoder.transformer, points=points, image=image, positions=positions, shared=shared)
    mask_tokens = queries[:, 1 : 1 + decoder.num_mask_tokens]
    logits = mask_logits(decoder, image=image, mask_tokens=mask_tokens, tokens=tokens)
    return logits, decoder.iou_prediction_head(queries[:, 0])[:, tokens]


def _transform(
    transformer: TwoWayTransformer,
    *,
    points: Tensor,
    image: Tensor,
    positions: Tensor,
    shared: SharedProjections | None,
) -> tuple[Tensor, Tensor]:
    """`TwoWayTransformer.forward` on lists of places; `shared` is the first layer's."""
    queries = points
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = layer.self_attn(q=queries, k=queries, v=queries)
        else:
            placed = queries + points
            queries = queries + layer.self_attn(q=placed, k=placed, v=queries)
        queries = layer.norm1(queries)
        places = image + positions if shared is None else image
        attention: Attention = layer.cross_attn_token_to_image
        queries = layer.norm2(
            queries + tokens_to_image(attention, queries=queries + points, places=places, values=image, shared=shared)
        )
        queries = layer.norm3(queries + layer.mlp(queries))
        attention = layer.cross_attn_image_to_token
        image = layer.norm4(
            image_to_tokens(
                attention, places=places, keys=queries + points, values=queries, image=image, shared=shared
            )
        )
        shared = None
    attention = transformer.final_attn_token_to_image
    out = tokens_to_image(attention, queries=queries + points, places=image + positions, values=image)
    return transformer.norm_final_attn(queries + out), image
