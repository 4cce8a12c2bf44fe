"""A whole SAM as the one graph that Apple's `ImageSegmenter` calls: photo and prompts in, candidates and scores out.

Its shapes are fixed, and it fills the points that a prompt lacks with label -1. EfficientSAM, which it was made for, is told to
learn nothing from them; to SAM each would be one more token that changes the answer. So nothing attends to them here, and SAM's
own padding point, which a prompt without a box has and a prompt with one has not, is added inside: the answers are SAM's for
every number of points.

Source: apple/coreai-models, `ImageSegmentationEngine.swift` (`buildPointTensors`, `reduceBestOfK`, `preprocessImageForPoints`)
and `models/efficient-sam/export.py`; segment-anything, `modeling/transformer.py`.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from encoders.export.decoder_module import PADDING, TOP_LEFT, PromptDecoder
from encoders.export.encoder_module import PixelEncoder
from encoders.sam import Sam

OUTPUT_TOKENS = 5  # predicted IoU and four masks
HIDDEN = -1e4  # added to a logit of attention: its weight is then 0
NOT_MEANT = 10.0  # taken from the predicted IoU of candidates that SAM would not answer with


class Segmenter(PromptDecoder):
    """Encoder, prompt encoder and mask decoder of one photo and a fixed number of prompts; in eval mode.

    `ImageSegmenter` takes the candidate of the highest score. SAM answers a box or several points with its single mask, and a
    lone point with the best of three others. The scores lead the one to the other: `NOT_MEANT` is taken from those of
    candidates that are not meant.

    Args:
        sam: whose prompt encoder and mask decoder are copied.
        encoder: its image encoder, exportable.
    """

    def __init__(self, sam: Sam, encoder: nn.Module) -> None:
        super().__init__(sam)
        self.encoder = PixelEncoder(encoder, scale=255.0)

    def forward(self, images: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Masks of Q prompts.

        Args:
            images: (1, 3, S, S) float32 RGB in [0, 1], the photo stretched to a square.
            points: (1, Q, P, 2) float32 xy in pixels of it.
            labels: (1, Q, P) float32: 1 foreground, 0 background, 2 and 3 corners of a box, -1 for no point.

        Returns:
            logits (1, Q, 4, S/4, S/4), the single mask first; predicted IoU (1, Q, 4), less `NOT_MEANT` where it applies;
            the image's embedding (1, 256, S/16, S/16), which `ImageSegmenter` leaves alone.
        """
        coords, kinds = points.squeeze(0), labels.squeeze(0)
        absent = (kinds == PADDING).to(coords.dtype)
        boxed = (kinds >= TOP_LEFT).to(coords.dtype).amax(dim=1, keepdim=True)
        several = (boxed + (1 - absent).sum(dim=1, keepdim=True) > 1.5).to(coords.dtype)  # (Q, 1)
        zero = coords[:, :1] * 0
        sparse = self.embed_points(torch.cat([coords, zero], dim=1), torch.cat([kinds, zero[..., 0] + PADDING], dim=1))
        hidden = torch.cat([zero[..., 0].expand(-1, OUTPUT_TOKENS), absent, boxed], dim=1)
        embedding = self.encoder(images)
        image = embedding + self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        transform = partial(masked_transform, self.mask_decoder.transformer, hidden=hidden)
        logits, scores = self.decode(image, sparse, transform=transform)
        scores = scores - NOT_MEANT * torch.cat([1 - several, several.expand(-1, 3)], dim=1)
        return logits.unsqueeze(0), scores.unsqueeze(0), embedding


def masked_transform(
    transformer: Any, image: Tensor, positions: Tensor, tokens: Tensor, *, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """segment-anything's `TwoWayTransformer` in which nothing attends to hidden tokens.

    Args:
        image: (P, C, h, w); positions: (1, C, h, w), its dense positional encoding; tokens: (P, T, C).
        hidden: (P, T), 1 for a token that is not to be seen, else 0.

    Returns:
        tokens (P, T, C), of which the hidden ones say nothing, and image (P, h * w, C).
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
    """segment-anything's `Attention` with something added to its logits.

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
