"""One update."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from distill.task import Task
from encoders.errors import NonFiniteLoss


@dataclass(frozen=True)
class StepStats:
    """What one update showed: each loss term of this rank, their sum, the gradient's norm before clipping."""

    losses: dict[str, float]
    total: float
    grad_norm: float


def train_step(engine: Any, task: Task, batch: Any) -> StepStats:
    """Move the module one update along the sum of the task's losses.

    Raises:
        NonFiniteLoss: a loss or a gradient is NaN or infinite on some rank; no parameter has moved when it is raised
            (under ZeRO-1 and above, where gradients are scattered, only the loss is checked before the update).
    """
    losses = task.losses(engine, batch)
    total = torch.stack(list(losses.values())).sum()
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    if not _finite_everywhere(total.detach()):
        raise NonFiniteLoss(keys=list(batch.keys), losses=values)
    engine.backward(total)
    grad_norm = gradient_norm(engine)
    if grad_norm is not None and not _finite_everywhere(torch.tensor(grad_norm, device=total.device)):
        raise NonFiniteLoss(keys=list(batch.keys), losses=values | {"grad_norm": grad_norm})
    engine.step()
    if grad_norm is None:
        grad_norm = float(engine.get_global_grad_norm() or 0.0)
    return StepStats(losses=values, total=float(total.detach()), grad_norm=grad_norm)


def gradient_norm(engine: nn.Module) -> float | None:
    """Norm of all gradients, averaged over ranks already; None where the engine keeps them scattered."""
    gradients = [p.grad for p in engine.parameters() if p.grad is not None]
    if not gradients:
        return None
    return float(torch.nn.utils.get_total_norm(gradients))


def _finite_everywhere(value: torch.Tensor) -> bool:
    """Whether `value` is finite on every rank, so that all ranks stop together."""
    finite = torch.isfinite(value).float()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(finite, op=torch.distributed.ReduceOp.MIN)
    return bool(finite)
