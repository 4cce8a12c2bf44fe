"""From what models saw to their results: intervals where a suite can be resampled, differences against a chosen model."""

from collections.abc import Mapping, Sequence

import numpy as np

from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import Result
from eval_zeroshot.results.statistics import FEWEST_UNITS, difference, photo_weights, with_intervals
from eval_zeroshot.suites.base import DrawsTogether, Resamples, Suite


def summarise_all(
    suite: Suite,
    seen: Mapping[str, Sequence[Observation]],
    *,
    dataset: str,
    reference: str | None = None,
    against: str | None = None,
) -> list[Result]:
    """One suite's results of several models that saw the same photos, with intervals and differences; see `evaluate`."""
    other = None if reference is None else (reference, seen[reference])
    found = {model: suite.summarise(its, model=model, dataset=dataset, reference=other) for model, its in seen.items()}
    draws = {model: _draws(suite, its, reference=other and other[1]) for model, its in seen.items()}
    results = []
    for model, result in found.items():
        result = with_intervals(result, draws[model])
        if against is not None and model != against:
            gap = difference(result, found[against], samples=draws[model], their_samples=draws[against])
            result = result.model_copy(update={"against": against, "difference": gap})
        results.append(result)
    return results


def _draws(
    suite: Suite, observations: Sequence[Observation], *, reference: Sequence[Observation] | None
) -> dict[str, np.ndarray]:
    """Numbers of draws of the photos, alike for all models; none where the suite cannot be resampled."""
    if not isinstance(suite, Resamples):
        return {}
    unit_of_photo = np.arange(len(observations))
    if isinstance(suite, DrawsTogether):
        unit_of_photo = np.unique([suite.unit(seen.key) for seen in observations], return_inverse=True)[1]
    units = int(unit_of_photo.max(initial=-1)) + 1
    if units < FEWEST_UNITS:
        return {}
    blocks = [
        suite.resample(observations, weights=weights[:, unit_of_photo], reference=reference)
        for weights in photo_weights(units, resamples=suite.resamples)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
