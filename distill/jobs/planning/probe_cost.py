"""What a run's probe takes of its time, by arithmetic."""

from typing import cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from distill.config.probe import ProbeConfig
from distill.jobs.planning.compute_cost import STEP_PASSES, forward_tflop
from distill.probe.watch import MOST_TIME
from encoders.contract import EMBED_DIM, STRIDE
from encoders.sam import build_mask_decoder, build_prompt_encoder


def prompt_tflop(*, image_size: int) -> float:
    """Return the TFLOP that SAM's mask decoder takes for a point."""
    side = image_size // STRIDE
    with torch.device("meta"):
        encoder, decoder = build_prompt_encoder(image_size), build_mask_decoder()
        embedding = torch.empty(1, EMBED_DIM, side, side)
        sparse = torch.empty(1, 2, EMBED_DIM)
        places = cast(Tensor, encoder.get_dense_pe())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        decoder.predict_masks(embedding, places, sparse, embedding)
    return counter.get_total_flops() / 1e12


def probe_share(probe: ProbeConfig, *, arch: str, image_size: int, batch: int) -> float:
    """Return the share of a run's products that its probe computes, 0 to 1.

    Args:
        batch: photos that a process takes in an update; one process measures while the others wait.
    """
    photo = forward_tflop(arch, image_size=image_size)
    measured = probe.photos * (photo + 2 * probe.prompts * prompt_tflop(image_size=image_size))
    return measured / (measured + probe.every_steps * batch * STEP_PASSES * photo)


def too_often(probe: ProbeConfig, share: float) -> list[str]:
    """Return what to say of a probe that takes too much of a run; empty if it does not."""
    if share <= MOST_TIME:
        return []
    return [
        f"the probe computes {100 * share:.0f} % of all: for less than {100 * MOST_TIME:.0f} % raise probe.every_steps from "
        f"{probe.every_steps}, or lower probe.photos or probe.prompts"
    ]
