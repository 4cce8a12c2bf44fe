"""One update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from distill.ranks import gather_over_ranks
from distill.task import Task
from encoders.errors import NonFiniteLoss


@dataclass(frozen=True)
class StepStats:
    """Statistics of one update over all ranks: each loss term, their sum, and the gradient norm before clipping."""

    losses: dict[str, float]
    total: float
    grad_norm: float


def train_step(engine: Any, task: Task, batches: Sequence[Any]) -> StepStats:
    """Take one optimizer step on the sum of the task's losses, averaged over micro-batches and ranks.

    Args:
        engine: the DeepSpeed engine; its `gradient_accumulation_steps` is the number of `batches`.
        batches: this rank's micro-batches of one update, of equal size.

    Raises:
        NonFiniteLoss: a loss or a gradient is NaN or infinite on some rank; no parameter has moved when it is raised.
    """
    seen = []
    for number, batch in enumerate(batches, start=1):
        seen.append(backward(engine, task, batch))
        if number < len(batches):
            engine.step()  # counts the micro-batch; parameters only change at the last one
    losses = mean_of_terms(seen)
    grad_norm = gradient_norm(engine)
    if not math.isfinite(grad_norm):  # the same number on every rank
        keys = keys_over_ranks([key for batch in batches for key in batch.keys])
        raise NonFiniteLoss(keys=keys, losses=losses | {"grad_norm": grad_norm})
    engine.step()
    total = losses.pop("total")
    return StepStats(losses=losses, total=total, grad_norm=grad_norm)


def backward(engine: Any, task: Task, batch: Any) -> dict[str, float]:
    """Accumulate the gradients of one micro-batch; return each loss term and their sum, "total", averaged over ranks.

    Raises:
        NonFiniteLoss: a loss is NaN or infinite on some rank; its samples are named, and no gradient was added.
    """
    losses = task.losses(engine, batch)
    total = torch.stack(list(losses.values())).sum()
    own_losses = {name: float(loss.detach()) for name, loss in losses.items()} | {"total": float(total.detach())}
    mean_losses = mean_of_terms(gather_over_ranks(own_losses))
    if not all(map(math.isfinite, mean_losses.values())):
        bad_keys = [] if all(map(math.isfinite, own_losses.values())) else list(batch.keys)
        raise NonFiniteLoss(keys=keys_over_ranks(bad_keys), losses=mean_losses)
    engine.backward(total)
    return mean_losses


def gradient_norm(engine: nn.Module) -> float:
    """Return the norm of all gradients after averaging over ranks."""
    gradients = [p.grad for p in engine.parameters() if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])))


def mean_of_terms(batches: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average each loss term over ranks or micro-batches; a missing term counts as 0.

    Terms may be missing: the mask stage has no `multimask` term in batches without point prompts.
    """
    names = dict.fromkeys(name for terms in batches for name in terms)
    return {name: sum(terms.get(name, 0.0) for terms in batches) / len(batches) for name in names}


def keys_over_ranks(keys: list[str]) -> list[str]:
    """Gather the keys of all ranks, in order of rank."""
    return [key for rank in gather_over_ranks(keys) for key in rank]
