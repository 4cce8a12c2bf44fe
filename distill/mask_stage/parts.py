"""The parts of a Sam that learn at rates of their own."""

from collections.abc import Mapping
from typing import Any

from torch import nn


def part_of(name: str) -> str:
    """Return the part of a Sam that a parameter belongs to: backbone, neck, prompt_encoder or mask_decoder.

    The image encoder's `neck` and `laterals` are its neck; all else in it is the backbone.
    """
    top, _, rest = name.partition(".")
    if top != "image_encoder":
        return top
    return "neck" if rest.startswith(("neck.", "laterals.")) else "backbone"


def freeze_parts(sam: nn.Module, *, factors: Mapping[str, float]) -> None:
    """Let the parameters of a part learn if its learning-rate factor is above 0, and no others."""
    for name, parameter in sam.named_parameters():
        parameter.requires_grad_(factors[part_of(name)] > 0)


def parameter_groups(sam: nn.Module, *, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the parameters that learn, by learning-rate factor: each {"params", "lr_factor"}."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in sam.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(factors[part_of(name)], []).append(parameter)
    return [{"params": parameters, "lr_factor": factor} for factor, parameters in groups.items()]
