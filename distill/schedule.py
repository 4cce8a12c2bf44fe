"""The learning rate as a function of the step, and what is said of it when a run is short or made longer."""

import math
from typing import Any

from distill.config.runs import RunConfig
from encoders.messages.words import counted


def lr_factor(step: int, *, steps: int, warmup_steps: int, min_ratio: float) -> float:
    """Return the factor on the base learning rate for update `step` (from 0): linear warm-up, then cosine to `min_ratio`.

    The first update has a non-zero rate: warm-up goes 1/W, 2/W, …, 1. The last, `steps - 1`, has exactly `min_ratio`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    span = max(1, steps - 1 - warmup_steps)
    progress = min(1.0, (step - warmup_steps) / span)
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


def length(schedule: dict[str, Any], *, steps_per_epoch: int) -> int:
    """Return the number of steps of a schedule given in steps or epochs."""
    return int(schedule.get("steps") or (schedule.get("epochs") or 0) * steps_per_epoch)


def new_length_note(config: RunConfig, *, step: int, earlier: int, steps: int) -> str:
    """Explain the effect on the learning rate of changing a run at `step` from `earlier` to `steps` steps."""
    last, following = (config.optim.lr * factor_at(config, step=s, steps=n) for s, n in ((step - 1, earlier), (step, steps)))
    return (
        f"note: {config.folder} was begun with {earlier} steps and goes on to {steps}: from step {step + 1} on the learning "
        f"rate is that of a run of {steps} steps, so it goes from {last:.2e} to {following:.2e} now"
    )


def short_run_note(config: RunConfig, *, steps: int) -> str:
    """Explain the learning rate of a run that ends before its warm-up."""
    highest = config.optim.lr * factor_at(config, step=steps - 1, steps=steps)
    return (
        f"note: the warm-up of {counted(config.schedule.warmup_steps, 'step')} is no shorter than the run of "
        f"{counted(steps, 'step')}, so the learning rate reaches {highest:.2e} of {config.optim.lr:.2e} and never falls. For a "
        f"short run begin anew with a shorter one, e.g. --set schedule.warmup_steps={steps // 10}"
    )


def set_lr(engine: object, config: RunConfig, *, step: int, steps: int) -> float:
    """Set the learning rate of every group for update `step` (from 0); return the base rate."""
    lr = config.optim.lr * factor_at(config, step=step, steps=steps)
    for group in engine.optimizer.param_groups:  # type: ignore[attr-defined]
        group["lr"] = lr * group["lr_factor"]
    return lr


def factor_at(config: RunConfig, *, step: int, steps: int) -> float:
    """Return the factor on the base learning rate for update `step` (from 0) of `steps`."""
    schedule = config.schedule
    return lr_factor(step, steps=steps, warmup_steps=schedule.warmup_steps, min_ratio=schedule.min_lr_ratio)
