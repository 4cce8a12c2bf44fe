"""An exponential moving average of a module's state."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Ema:
    """A float32 shadow of parameters and buffers; integers are copied.

    The decay is min(decay, (1 + n) / (10 + n)) at update n, so that a short run is not an average of its start.

    Args:
        module: the module to average; it must keep its tensors and change them in place, as optimizers do.
        decay: 0 copies the raw weights.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        live = module.state_dict()  # shares its memory with the module, which changes in place
        self.shadow = {name: _copy(value) for name, value in live.items()}
        averaged = [name for name, value in live.items() if value.dtype.is_floating_point]
        copied = [name for name in live if name not in set(averaged)]
        self._averaged = [self.shadow[name] for name in averaged], [live[name] for name in averaged]
        self._copied = [self.shadow[name] for name in copied], [live[name] for name in copied]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the module's current state, in few kernels."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        shadow, live = self._averaged
        if shadow:
            torch._foreach_lerp_(shadow, [value.to(torch.float32) for value in live], 1 - decay)
        shadow, live = self._copied
        if shadow:
            torch._foreach_copy_(shadow, live)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, *, updates: int, shadow: Mapping[str, Tensor]) -> None:
        """Load an average with the same names and shapes, and its number of updates."""
        self.updates = updates
        for name, value in shadow.items():
            self.shadow[name].copy_(value)


def _copy(value: Tensor) -> Tensor:
    return value.detach().float().clone() if value.dtype.is_floating_point else value.detach().clone()
