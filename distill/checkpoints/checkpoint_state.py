"""The content of a checkpoint and how it is restored."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from distill.ema import Ema
from encoders.errors import InputError, did_you_mean


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)


class EmaState(_Part):
    """State of `Ema`: the number of updates, and the averages by name."""

    updates: int = Field(ge=0)
    shadow: dict[str, Tensor]


class OptimizerGroup(_Part):
    """Indices of a group's parameters; its learning rate and weight decay come from the config."""

    params: list[int]


class OptimizerState(_Part):
    """AdamW's moments and step counters by parameter index."""

    state: dict[int, dict[str, Tensor]]
    param_groups: list[OptimizerGroup]


class CheckpointState(_Part):
    """Content of `state.pt`; the earliest checkpoints have no `data_id`."""

    module: dict[str, Tensor]
    optimizer: OptimizerState
    ema: EmaState
    data_id: str | None = None


def check_fits(state: CheckpointState, *, engine: Any, ema: Ema, name: str) -> None:
    """Check that a state matches this run's module, optimizer and EMA before anything is changed.

    Raises:
        InputError: a name or shape differs; says which.
    """
    _check_tensors(state.module, engine.module.state_dict(), name=f"{name}: module")
    _check_tensors(state.ema.shadow, ema.shadow, name=f"{name}: ema")
    groups = [group.params for group in state.optimizer.param_groups]
    expected = [group["params"] for group in engine.optimizer.state_dict()["param_groups"]]
    if groups != expected:
        raise InputError(f"{name}: optimizer: its groups of parameters are not those of this run")
    parameters = [parameter for group in engine.optimizer.param_groups for parameter in group["params"]]
    for number, parameter in enumerate(parameters):
        found = state.optimizer.state.get(number, {})
        shapes = {"exp_avg": parameter.shape, "exp_avg_sq": parameter.shape, "step": torch.Size()} if found else {}
        if {key: value.shape for key, value in found.items()} != shapes:
            raise InputError(f"{name}: optimizer: the state of parameter {number} is not AdamW's for its shape")
    if any(not 0 <= number < len(parameters) for number in state.optimizer.state):
        raise InputError(f"{name}: optimizer: it has more parameters than this run")


def restore(state: CheckpointState, *, engine: Any, ema: Ema) -> None:
    """Load a checked state into module, optimizer and EMA."""
    engine.module.load_state_dict(state.module)
    groups = engine.optimizer.state_dict()["param_groups"]
    engine.optimizer.load_state_dict({"state": state.optimizer.state, "param_groups": groups})
    for parameter, moments in engine.optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):  # laid out like their parameter, which may have been saved in another layout
            moments[name] = torch.empty_like(parameter, requires_grad=False).copy_(moments[name])
    ema.load_state_dict(updates=state.ema.updates, shadow=state.ema.shadow)


def not_finite(state: CheckpointState) -> str | None:
    """Return the name of the first tensor with a NaN or infinite value; None if there is none."""
    return next((name for name, value in _tensors(state) if not bool(torch.isfinite(value).all())), None)


def _tensors(state: CheckpointState) -> Iterator[tuple[str, Tensor]]:
    yield from ((f"module {name}", value) for name, value in state.module.items())
    yield from ((f"ema {name}", value) for name, value in state.ema.shadow.items())
    for number, values in state.optimizer.state.items():
        yield from ((f"optimizer {number} {name}", value) for name, value in values.items())


def _check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, name: str) -> None:
    for key, value in expected.items():
        if key not in found:
            raise InputError(f"{name}: {key} is missing{did_you_mean(key, found.keys() - expected.keys())}")
        if found[key].shape != value.shape or found[key].dtype != value.dtype:
            raise InputError(
                f"{name}: {key} is {found[key].dtype} of shape {tuple(found[key].shape)}, this run's {value.dtype} of "
                f"{tuple(value.shape)}"
            )
    for key in found.keys() - expected.keys():
        raise InputError(f"{name}: {key} is not of this run's model")
