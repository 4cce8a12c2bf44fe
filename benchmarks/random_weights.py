"""Teachers whose weights cannot be had: random ones take the same time."""

import torch
from torch import nn


def randomize(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Random values for every parameter, position tables too, which are zero when fresh; returns `module`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.normal_(mean=float("norm" in name and name.endswith("weight")), std=0.1, generator=generator)
    return module
