"""The learning rate as a pure function of the step."""

import math


def lr_factor(step: int, *, steps: int, warmup_steps: int, min_ratio: float) -> float:
    """Return the factor on the base learning rate for update `step` (from 0): linear warm-up, then cosine to `min_ratio`.

    The first update has a non-zero rate: warm-up goes 1/W, 2/W, …, 1. The last, `steps - 1`, has exactly `min_ratio`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    span = max(1, steps - 1 - warmup_steps)
    progress = min(1.0, (step - warmup_steps) / span)
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
