"""What a training step is reported with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepStats:
    """Statistics of one update over all ranks: each loss term, their sum, and the gradient norm before clipping.

    `measured` holds the task's `measured_names`, each summed over all batches and ranks since the read before.
    """

    losses: dict[str, float]
    measured: dict[str, float]
    total: float
    grad_norm: float
