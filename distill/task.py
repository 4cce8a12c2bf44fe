"""The interface between the training loop and a stage."""

from collections.abc import Generator, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from encoders.sam import Sam
from shards import Manifest


class Task(Protocol):
    """One training stage: its module, data and losses.

    Attributes:
        module: the module that the DeepSpeed engine trains.
        image_encoder: the part of it that encodes images, which takes most of a step.
        steps_per_epoch: number of steps of `batches` per epoch.
        batchnorm_learns: whether BatchNorm statistics are updated, so that ranks must synchronise them.
        loss_names: names of the terms that `losses` may return, in order.
        measured_names: names of counts that `losses` also returns, to be reported and not to be learnt from.
        manifest: manifest of the cache; None if the stage reads no cache.
        facts: what run.json says of this stage alone.
    """

    @property
    def module(self) -> nn.Module: ...

    @property
    def image_encoder(self) -> nn.Module: ...

    steps_per_epoch: int
    batchnorm_learns: bool
    loss_names: tuple[str, ...]
    measured_names: tuple[str, ...]
    manifest: Manifest | None
    facts: dict[str, Any]

    def batches(self, *, start_step: int) -> Generator[Any, None, None]:
        """Yield this rank's batches endlessly from a step on. A batch has `keys`, the names of its samples.

        Closing the iterator ends its worker processes, which ignore signals.

        With gradient accumulation, an update takes several such steps.
        """

    def losses(self, engine: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Return the named, weighted loss terms, which the step sums; a term may be missing, which counts as 0."""

    def remark(self, measured: Mapping[str, float]) -> str | None:
        """Return what the user should know after more counts by `measured_names`, added up over ranks; None if nothing."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups, each {"params", "lr_factor"}."""

    def sam(self, state_dict: Mapping[str, Tensor]) -> Sam:
        """Return the whole model of a state dict of `module`, in eval mode; it may share the given tensors.

        It is what the run exports and what its probe measures. Only the first rank calls it.
        """
