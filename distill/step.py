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
    """What one update showed, over all ranks: each loss term, their sum, the gradient's norm before clipping."""

    losses: dict[str, float]
    total: float
    grad_norm: float


def train_step(engine: Any, task: Task, batches: Sequence[Any]) -> StepStats:
    """Move the module one update along the sum of the task's losses, averaged over micro-batches and ranks.

    Args:
        engine: DeepSpeed's, whose `gradient_accumulation_steps` is the number of `batches`.
        batches: this rank's micro-batches of one update, of equal size.

    Raises:
        NonFiniteLoss: a loss or a gradient is NaN or infinite on some rank; no parameter has moved when it is raised.
    """
    seen = []
    for number, batch in enumerate(batches, start=1):
        seen.append(backward(engine, task, batch))
        if number < len(batches):
            engine.step()  # counts the micro-batch; nothing moves before the last
    losses = mean_of_terms(seen)
    grad_norm = gradient_norm(engine)
    if not math.isfinite(grad_norm):  # the same number on every rank
        keys = keys_over_ranks([key for batch in batches for key in batch.keys])
        raise NonFiniteLoss(keys=keys, losses=losses | {"grad_norm": grad_norm})
    engine.step()
    total = losses.pop("total")
    return StepStats(losses=losses, total=total, grad_norm=grad_norm)


def backward(engine: Any, task: Task, batch: Any) -> dict[str, float]:
    """Add the gradients of one micro-batch; returns the mean over ranks of each loss term, and of their sum, "total".

    Raises:
        NonFiniteLoss: a loss is NaN or infinite on some rank; its samples are named, and no gradient was added.
    """
    losses = task.losses(engine, batch)
    total = torch.stack(list(losses.values())).sum()
    here = {name: float(loss.detach()) for name, loss in losses.items()} | {"total": float(total.detach())}
    everywhere = mean_of_terms(gather_over_ranks(here))
    if not all(map(math.isfinite, everywhere.values())):
        guilty = [] if all(map(math.isfinite, here.values())) else list(batch.keys)
        raise NonFiniteLoss(keys=keys_over_ranks(guilty), losses=everywhere)
    engine.backward(total)
    return everywhere


def gradient_norm(engine: nn.Module) -> float:
    """Norm of all gradients, averaged over ranks already."""
    gradients = [p.grad for p in engine.parameters() if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])))


def mean_of_terms(batches: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each term over ranks or micro-batches; one that has nothing for a term adds 0 to it, as to the sum.

    Batches differ in their terms: without point prompts the mask stage has no `multimask`.
    """
    names = dict.fromkeys(name for terms in batches for name in terms)
    return {name: sum(terms.get(name, 0.0) for terms in batches) / len(batches) for name in names}


def keys_over_ranks(keys: list[str]) -> list[str]:
    """The keys of all ranks in order of rank."""
    return [key for rank in gather_over_ranks(keys) for key in rank]
