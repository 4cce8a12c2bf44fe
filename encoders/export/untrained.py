"""Models with random weights that are worth exporting: for formats and latencies, which do not depend on the weights."""

import torch

from encoders.checkpoint import load
from encoders.export.fusion_check import randomize_batchnorm
from encoders.registry import SHIPPED_WEIGHTS, build_sam
from encoders.sam import Sam

STD = 0.02  # of what was all zeros: position tables, biases


def untrained_subject(name: str, *, image_size: int, seed: int = 0) -> Sam:
    """A fresh model with random values in its BatchNorms and in every tensor of zeros, so that every weight affects the output.

    It is the same for the same seed. Prompt encoder and mask decoder are sam_demo's where its weights are there, so that masks
    have a shape.

    Args:
        name: see `encoders.list_models`.
        image_size: S in pixels.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sam = build_sam(name, image_size=image_size)
        randomize_batchnorm(sam, seed=seed)
        with torch.no_grad():
            for parameter in sam.image_encoder.parameters():
                if not parameter.any():
                    parameter.normal_(std=STD)
    if SHIPPED_WEIGHTS["sam_demo"].is_file():
        demo = load("sam_demo", image_size=image_size)
        sam.prompt_encoder.load_state_dict(demo.prompt_encoder.state_dict())
        sam.mask_decoder.load_state_dict(demo.mask_decoder.state_dict())
    return sam.eval()
