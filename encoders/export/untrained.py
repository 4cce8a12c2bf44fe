"""Models with random weights, for testing formats and latencies, which do not depend on the weights."""

from typing import Any

import torch
from timm.models.repvit import RepVitMlp
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

from encoders.export.certification.fusion_check import randomize_batchnorm
from encoders.image_encoders.repvit import RepVitEncoder
from encoders.model_names import SHIPPED_WEIGHTS
from encoders.precise_batchnorm import precise_batchnorm
from encoders.registry import fresh_sam
from encoders.sam import Sam
from encoders.weights.checkpoint import load

STD = 0.02  # of what was all zeros: position tables, biases
IMAGES = 2  # for BatchNorm statistics
CELLS = 8  # of the coarse noise, each way
ENOUGH_PIXELS = 256  # a side of the noise, where the encoder's computation is the same at every size


def untrained_subject(name: str, *, image_size: int, seed: int = 0) -> Sam:
    """A fresh model whose embedding depends on its image and on every weight, and is no less stable than a trained one's.

    Every tensor of zeros gets random values, and every BatchNorm random weights and biases with the statistics of noise images.
    With random statistics too, activations would be off scale, and the biases would decide: two photos' embeddings then differ
    by less than 1 %. The branches of a residual network add up, and so do their rounding errors: the last BatchNorm of each
    branch is scaled by the inverse square root of their number.

    It is the same for the same seed. Prompt encoder and mask decoder are sam_demo's where its weights are there, so that masks
    have a shape.

    Args:
        name: see `encoders.list_models`.
        image_size: S in pixels.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sam = fresh_sam(name, image_size=image_size)
        randomize_batchnorm(sam, seed=seed)
        with torch.no_grad():
            for parameter in sam.image_encoder.parameters():
                if not parameter.any():
                    parameter.normal_(std=STD)
            _scale_branches(sam.image_encoder)
        if any(isinstance(part, _BatchNorm) for part in sam.image_encoder.modules()):
            fully_convolutional = isinstance(sam.image_encoder, RepVitEncoder)
            sam = precise_batchnorm(sam, [_noise(min(image_size, ENOUGH_PIXELS) if fully_convolutional else image_size)])
    if SHIPPED_WEIGHTS["sam_demo"].is_file():
        demo = load("sam_demo", image_size=image_size)
        sam.prompt_encoder.load_state_dict(demo.prompt_encoder.state_dict())
        sam.mask_decoder.load_state_dict(demo.mask_decoder.state_dict())
    return sam.eval()


def _scale_branches(encoder: nn.Module) -> None:
    branches = [part for part in encoder.modules() if isinstance(part, RepVitMlp)]
    for branch in branches:
        last: Any = branch.conv2
        last.bn.weight.mul_(len(branches) ** -0.5)


def _noise(image_size: int) -> Tensor:
    """Normalised images (B, 3, S, S) with coarse and fine structure, of about unit variance, as photos have."""
    coarse = interpolate(torch.randn(IMAGES, 3, CELLS, CELLS), size=(image_size, image_size), mode="bicubic")
    return coarse + 0.5 * torch.randn(IMAGES, 3, image_size, image_size)
