"""What the training loop asks of a stage."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from shards import Manifest


class Task(Protocol):
    """One stage: what is trained, from what, towards what.

    Attributes:
        module: what the DeepSpeed engine trains.
        steps_per_epoch: steps of `batches` an epoch takes.
        batchnorm_learns: whether BatchNorm statistics move, so that ranks must share them.
        manifest: of the cache that is read; None where the stage reads none.
    """

    @property
    def module(self) -> nn.Module: ...

    steps_per_epoch: int
    batchnorm_learns: bool
    manifest: Manifest | None

    def batches(self, *, start_step: int) -> Generator[Any, None, None]:
        """This rank's batches, endless, from a step on. A batch has `keys`, the names of its samples.

        Closing it ends the processes that make them, which no signal does.

        Where gradients accumulate, an update takes several such steps.
        """

    def losses(self, engine: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Named, weighted loss terms; they are summed."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of {"params", "lr_factor"}."""

    def export(self, folder: Path, *, state_dict: Mapping[str, Tensor]) -> None:
        """Write the run's weights from a state of `module`."""
