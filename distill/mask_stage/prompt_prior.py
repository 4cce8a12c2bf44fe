"""An initialisation of SAM's decoder that encodes spatial prompts: attention starts on box interiors and near clicks.

SAM learns this from a billion masks; a few hundred photos are not enough. The architecture is unchanged: only weights that
segment-anything initialises at random are set. Measured in docs/log.md.
"""

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

from encoders.contract import EMBED_DIM
from encoders.sam import Sam

# Starting values, set by hand; all but the frequencies are trained. Measured before training on 60 boxes at 256 px, as the
# share of pairs of a place inside and one outside that the written channels rank right: 0.990. Halving or doubling any one of
# the gains, norms and scales below keeps it between 0.968 and 0.992. The frequencies matter more: 0.947 to 0.998, and around a
# click from 0.65 (COARSE doubled) to 0.95 (halved), 0.76 as it is.
HARMONICS = 7  # odd harmonics of a square wave; with sine and cosine they fill 14 of a head's 16 dimensions, as many as fit
# Base frequencies of the two square waves, in cycles per unit of SAM's [-1, 1] frame. A wave gives the right sign for
# |dx| < 1 / (2 base): the coarse one over the whole frame (2.3 > 2), the fine one nearby, with about four times the slope.
COARSE, FINE = 0.22, 0.8
OTHER_FREQUENCIES = (0.15, 8.0)  # cycles per unit, log-spaced: a period from thrice the frame down to a sixteenth of it
SIGN_GAIN = 4.0  # of a gate's logit, so that the softmax switches from one side of an edge to the other
NEAR_GAIN = 1.2  # likewise near a click, where the harmonics add up undamped
SELF_GAIN = 1.4  # of q_proj and k_proj where tokens or places look at themselves: attention peaks there
LABEL_NORM = 6.0  # of a point or corner embedding: below the positional encoding's 11.3, so that both remain readable
WANTED, REFUSED = 8.0, -20.0  # a gate's preference for its corner over output tokens, and its rejection of the other corner
INSIDE_GAIN = 1.5  # of what the gates write; a norm follows
INSIDE_BIAS = -1.75  # in units of INSIDE_GAIN: four gates are open inside a box, and fewer outside, where the sum gets negative
WRITTEN_CHANNELS = 8  # channels that the gates of a box, and those of a click, write into; 4 or 16 do as well
QUIET = 0.1  # scale of the image's and tokens' own content in the written channels: small, yet with a gradient


@dataclass(frozen=True)
class Channels:
    """Roles of the 256 channels, as indices into the embedding and the tokens.

    Attributes:
        coarse, fine: per axis (x, y), the sine channel of each harmonic; its cosine lies 128 further.
        inside: written by the gates of a box; near: by those of a click.
        labels: (5, 256) orthonormal directions of: background point, foreground point, top-left corner, bottom-right
            corner, no point.
    """

    coarse: tuple[list[int], list[int]]
    fine: tuple[list[int], list[int]]
    inside: list[int]
    near: list[int]
    labels: Tensor

    def quiet(self) -> list[int]:
        """Return the channels in which the image embedding and the output tokens are initialised small."""
        half = EMBED_DIM // 2
        sines = [channel for axis in (*self.coarse, *self.fine) for channel in axis]
        return [*sines, *(channel + half for channel in sines), *self.inside, *self.near]


@torch.no_grad()
def start_at_the_prompt(sam: Sam, *, seed: int) -> None:
    """Initialise the prompt encoder, the decoder and the neck's last norm.

    - The positional encoding's frequencies lie along x and along y: the odd harmonics of two square waves, so that
      sum sin(k (x - x0)) / k is the sign of x - x0 and linear in two encodings, and the rest on a log scale.
    - Four heads of each image-to-token attention are the gates x > x0, x < x1, y > y0, y < y1 of a box, two are large near
      a click along x and y; they write into a few channels that the embedding leaves nearly empty. The first layer's gates
      hold over the whole frame, the second's are four times as sharp and hold nearby: small boxes need them.
    - The first self-attention, which has no residual, starts as the identity; other cross-attention with
      q_proj = k_proj = 1.4 x orthonormal, so that a prompt looks at its own place.

    The prior is a start, not a constraint: every weight but the frequencies is trained.
    """
    generator = torch.Generator().manual_seed(seed)
    channels = _place_frequencies(sam, generator=generator)
    transformer = sam.mask_decoder.transformer
    for layer in transformer.layers:
        _look_at_own_place(layer.cross_attn_token_to_image, generator=generator)
        _look_at_own_place(layer.cross_attn_image_to_token, generator=generator)
    _look_at_own_place(transformer.final_attn_token_to_image, generator=generator)
    for layer, gates in zip(transformer.layers, (channels.coarse, channels.fine), strict=True):
        _gate_by_prompts(layer.cross_attn_image_to_token, channels, gates=gates)
    _start_as_identity(transformer.layers[0].self_attn)
    _label_prompts(sam, channels)
    for token in (sam.mask_decoder.iou_token, sam.mask_decoder.mask_tokens):
        token.weight[:, channels.quiet()] *= QUIET
        token.weight -= token.weight @ channels.labels.T @ channels.labels
    norms = [module for module in sam.image_encoder.modules() if isinstance(module, LayerNorm2d)]
    norms[-1].weight[channels.quiet()] = QUIET  # every encoder ends with SAM's neck, which ends with a norm


def _place_frequencies(sam: Sam, *, generator: torch.Generator) -> Channels:
    frequencies = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    half = frequencies.shape[1] // 2
    harmonics = torch.tensor([2.0 * k + 1 for k in range(HARMONICS)])
    lowest, highest = (math.log10(frequency) for frequency in OTHER_FREQUENCIES)
    others = torch.logspace(lowest, highest, half - 2 * HARMONICS)
    frequencies.zero_()
    frequencies[0, :half] = frequencies[1, half:] = torch.cat([COARSE * harmonics, FINE * harmonics, others])
    coarse, fine = (
        (list(range(first, first + HARMONICS)), list(range(half + first, half + first + HARMONICS)))
        for first in (0, HARMONICS)
    )
    taken = {channel + offset for axis in (*coarse, *fine) for channel in axis for offset in (0, EMBED_DIM // 2)}
    order = torch.randperm(EMBED_DIM, generator=generator).tolist()
    free = [channel for channel in order if channel not in taken]
    inside, near, rest = (
        free[:WRITTEN_CHANNELS],
        free[WRITTEN_CHANNELS : 2 * WRITTEN_CHANNELS],
        free[2 * WRITTEN_CHANNELS :],
    )
    labels = torch.zeros(5, EMBED_DIM)
    labels[:, rest] = nn.init.orthogonal_(torch.empty(5, len(rest)), generator=generator)
    return Channels(coarse=coarse, fine=fine, inside=inside, near=near, labels=labels)


def _label_prompts(sam: Sam, channels: Channels) -> None:
    encoder = sam.prompt_encoder
    embeddings = [*encoder.point_embeddings, encoder.not_a_point_embed]
    for embedding, direction in zip(embeddings, channels.labels, strict=True):
        embedding.weight.copy_(LABEL_NORM * direction[None])
    encoder.no_mask_embed.weight *= QUIET


def _look_at_own_place(attention: Attention, *, generator: torch.Generator) -> None:
    matrix = torch.empty(attention.internal_dim, EMBED_DIM)
    nn.init.orthogonal_(matrix, gain=SELF_GAIN, generator=generator)
    attention.q_proj.weight.copy_(matrix)
    attention.k_proj.weight.copy_(matrix)


def _start_as_identity(attention: Attention) -> None:
    identity = torch.eye(EMBED_DIM)
    for projection, gain in (("q_proj", SELF_GAIN), ("k_proj", SELF_GAIN), ("v_proj", 1.0), ("out_proj", 1.0)):
        getattr(attention, projection).weight.copy_(gain * identity)
        getattr(attention, projection).bias.zero_()


def _gate_by_prompts(attention: Attention, channels: Channels, *, gates: tuple[list[int], list[int]]) -> None:
    """Heads 0 to 3: the gates of a box; 4 and 5: near a click. Queries are places of the image, keys are tokens."""
    _, click, top_left, bottom_right, _ = channels.labels
    width = attention.internal_dim // attention.num_heads
    heads = [
        (0, +1, top_left, bottom_right),
        (0, -1, bottom_right, top_left),
        (1, +1, top_left, bottom_right),
        (1, -1, bottom_right, top_left),
        (0, 0, click, None),
        (1, 0, click, None),
    ]
    for head, (axis, side, wanted, refused) in enumerate(heads):
        rows = slice(head * width, (head + 1) * width)
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[rows] = 0
            projection.bias[rows] = 0
        sines = (gates if side else channels.coarse)[axis]
        _compare_places(attention, row=rows.start, sines=sines, side=side)
        attention.q_proj.bias[rows.stop - 2] = 1
        if refused is not None:
            attention.k_proj.weight[rows.stop - 2] = (WANTED * wanted + REFUSED * refused) / LABEL_NORM
        attention.v_proj.weight[rows.start] = wanted / LABEL_NORM
        attention.v_proj.bias[rows.start] = 0
        attention.out_proj.weight[:, rows.start] = 0
        attention.out_proj.weight[channels.inside if side else channels.near, rows.start] = INSIDE_GAIN
    attention.out_proj.bias[channels.inside] = INSIDE_BIAS * INSIDE_GAIN


def _compare_places(attention: Attention, *, row: int, sines: list[int], side: int) -> None:
    """Let a head's logit be the sign of `side` (place - prompt), or, with side 0, large where the two are near."""
    half = EMBED_DIM // 2
    query, key = attention.q_proj.weight, attention.k_proj.weight
    for k, sine in enumerate(sines):
        first, second = row + 2 * k, row + 2 * k + 1
        if side:  # sin(a - b) = sin a cos b - cos a sin b
            turn = math.pi * (2 * k + 1) / (2 * HARMONICS + 2)
            gain = SIGN_GAIN * math.sqrt(math.sin(turn) / turn / (2 * k + 1))  # Lanczos: no ringing
            query[first, sine], key[first, sine + half] = gain, gain * side
            query[second, sine + half], key[second, sine] = -gain, gain * side
        else:  # cos(a - b) = sin a sin b + cos a cos b
            query[first, sine] = key[first, sine] = NEAR_GAIN
            query[second, sine + half] = key[second, sine + half] = NEAR_GAIN
