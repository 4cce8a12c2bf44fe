"""An exponential moving average of a module's state."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Ema:
    """A float32 shadow of parameters and buffers; integers are copied.

    The decay is min(decay, (1 + n) / (10 + n)) at update n, so that a short run is not an average of its start.

    Args:
        module: the module to average.
        decay: 0 copies the raw weights.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {name: _copy(value) for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Update the average with the module's current state."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            shadow = self.shadow[name]
            if shadow.dtype.is_floating_point:
                shadow.lerp_(value.to(shadow.dtype), 1 - decay)
            else:
                shadow.copy_(value)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, *, updates: int, shadow: Mapping[str, Tensor]) -> None:
        """Load an average with the same names and shapes, and its number of updates."""
        self.updates = updates
        for name, value in shadow.items():
            self.shadow[name].copy_(value)


def _copy(value: Tensor) -> Tensor:
    return value.detach().float().clone() if value.dtype.is_floating_point else value.detach().clone()
