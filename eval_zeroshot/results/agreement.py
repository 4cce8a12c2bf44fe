"""How far a model's masks are another model's, for the same prompts."""

from collections.abc import Sequence

import numpy as np

from encoders.errors import InputError
from encoders.samples.rle import rle_iou
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import Estimate


def agreement(observations: Sequence[Observation], reference: Sequence[Observation]) -> list[list[float]]:
    """For each photo the IoU of each object's mask with the reference's mask for the same prompt.

    Raises:
        InputError: the reference has not seen the same objects.
    """
    masks = {seen.key: seen for seen in reference}
    values = []
    for seen in observations:
        other = masks.get(seen.key)
        if other is None or other.ids != seen.ids:
            raise InputError(f"the reference has no masks for the same objects of photo {seen.key}")
        values.append([rle_iou(mine, theirs) for mine, theirs in zip(seen.masks, other.masks, strict=True)])
    return values


def mean_agreement(observations: Sequence[Observation], reference: Sequence[Observation]) -> Estimate:
    """Mean IoU of the masks with the reference's for the same prompts."""
    return Estimate.of(np.hstack([[], *agreement(observations, reference)]).tolist())
