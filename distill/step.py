"""Updates of a run: taken without waiting for the device, whose numbers are read together every few steps."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from distill.ranks import gather_over_ranks, sum_over_ranks
from distill.step_stats import StepStats
from distill.task import Task
from encoders.errors import NonFiniteLoss

SMALLEST_NORM = 1e-6  # added to a norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does


class TrainingSteps:
    """Takes optimizer steps on the sum of a task's losses, averaged over micro-batches and ranks.

    `take` only launches work. Losses and norms stay on the device until `read`, which waits for it once. After a loss or a
    gradient that is not finite no update changes a parameter: the optimizer is fused and skips it by a flag on the device
    (torch, `torch/optim/adamw.py`, `found_inf`), and `read` then raises. A loss that is not finite makes all gradients NaN,
    so that the ranks, which average their gradients, agree without a message of their own.

    Args:
        engine: the DeepSpeed engine; its `gradient_accumulation_steps` is the number of micro-batches of an update.
        clip_grad_norm: largest norm of all gradients; 0 does not clip.
    """

    def __init__(self, engine: Any, task: Task, *, clip_grad_norm: float) -> None:
        self._engine, self._task = engine, task
        self._max_norm = clip_grad_norm or math.inf
        self._world_size = torch.distributed.get_world_size()
        self._parameters = [parameter for parameter in engine.module.parameters() if parameter.requires_grad]
        device = self._parameters[0].device
        self._missing, self._nan = torch.zeros((), device=device), torch.full((), math.nan, device=device)
        self._one = torch.ones((), device=device)
        self._failed = torch.zeros((), device=device)  # 1 after the first number that was not finite
        engine.optimizer.found_inf = self._failed
        engine.enable_backward_allreduce = False  # it copies every parameter's gradient twice; see `_average_and_clip`
        self._clear()

    def _clear(self) -> None:
        self._losses: list[Tensor] = []  # one (terms + 1,) vector a micro-batch: the terms and their sum
        self._measured: list[Tensor] = []  # one vector a micro-batch
        self._norms: list[Tensor] = []
        self._keys: list[list[str]] = []  # of each micro-batch

    def take(self, batches: Sequence[Any]) -> None:
        """Take one optimizer step.

        Args:
            batches: this rank's micro-batches of one update, of equal size.
        """
        for number, batch in enumerate(batches, start=1):
            self._backward(batch)
            if number < len(batches):
                self._engine.step()  # counts the micro-batch; parameters only change at the last one
        norm = self._average_and_clip()
        self._norms.append(norm)
        torch.maximum(self._failed, (~norm.isfinite()).to(self._failed.dtype), out=self._failed)
        self._engine.step()

    def _average_and_clip(self) -> Tensor:
        """Average the gradients over ranks and clip them, as one flat tensor; return their norm before clipping.

        Parameters get views of it as their gradients: three kernels and one collective, however many parameters there are.
        One without a gradient gets zeros, as another rank's batch may have given it one: the mask stage has prompts of one
        kind only in some batches.
        """
        gradients: list[Tensor] = []
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        flat = torch.cat([gradient.as_strided((gradient.numel(),), (1,)) for gradient in gradients])  # in memory order
        sum_over_ranks(flat)
        if self._world_size > 1:
            flat.div_(self._world_size)
        norm = torch.linalg.vector_norm(flat)
        flat.mul_((self._max_norm / (norm + SMALLEST_NORM)).clamp(max=1))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for parameter, gradient, part in zip(self._parameters, gradients, parts, strict=True):
            parameter.grad = part.as_strided(gradient.size(), gradient.stride())
        return norm

    def _backward(self, batch: Any) -> None:
        terms = self._task.losses(self._engine, batch)
        losses = torch.stack([terms.get(name, self._missing) for name in self._task.loss_names])
        total = losses.sum()
        if self._task.measured_names:
            self._measured.append(torch.stack([terms.get(name, self._missing) for name in self._task.measured_names]).detach())
        self._losses.append(torch.cat([losses.detach(), total.detach()[None]]))
        self._keys.append(list(batch.keys))
        self._engine.backward(total * torch.where(total.detach().isfinite(), self._one, self._nan))

    def read(self) -> StepStats:
        """Return the statistics of the last step, waiting for the device. Every rank must call it after the same step.

        Raises:
            NonFiniteLoss: a loss or a gradient since the last read was NaN or infinite on some rank. Its samples are named,
                and no parameter has changed since the step before it.
        """
        losses, norms = torch.stack(self._losses), torch.stack(self._norms)
        mean = sum_over_ranks(losses.clone()) / self._world_size
        measured = [sum_over_ranks(torch.stack(self._measured).sum(dim=0))] if self._measured else []
        read = torch.cat([losses.flatten(), mean.flatten(), norms, *measured]).cpu()  # the one wait
        keys, count = self._keys, len(norms)
        self._clear()
        numbers, norm_of_step, sums = read.split([2 * losses.numel(), count, len(read) - 2 * losses.numel() - count])
        own, means = numbers.view(2, count, -1, losses.shape[1])  # (steps, micro-batches, terms + 1) each
        for step in range(count):
            if not (means[step].isfinite().all() and norm_of_step[step].isfinite()):
                micro = len(means[step])
                here = keys[step * micro : (step + 1) * micro]
                bad = [one for one, row in zip(here, own[step], strict=True) if not row.isfinite().all()]
                raise NonFiniteLoss(
                    keys=_named([*chain(*bad)], [*chain(*here)]),
                    losses=self._terms(means[step]) | {"grad_norm": float(norm_of_step[step])},
                )
        terms = self._terms(means[-1])
        total, found = terms.pop("total"), dict(zip(self._task.measured_names, sums.tolist(), strict=True))
        return StepStats(losses=terms, measured=found, total=total, grad_norm=float(norm_of_step[-1]))

    def _terms(self, rows: Tensor) -> dict[str, float]:
        """(micro-batches, terms + 1) -> the average of each loss term and of their sum, "total", by name."""
        return dict(zip((*self._task.loss_names, "total"), rows.double().mean(dim=0).tolist(), strict=True))


def _named(bad: list[str], here: list[str]) -> list[str]:
    """Return the samples of all ranks to name: those whose loss was not finite, or all where only the gradients were not."""
    gathered = gather_over_ranks((bad, here))
    return [key for one, _ in gathered for key in one] or [key for _, one in gathered for key in one]
