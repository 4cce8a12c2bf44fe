"""What results of earlier versions do not say of themselves, guessed from the words and numbers that they have."""

import re
from collections.abc import Sequence

from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import Reading
from eval_zeroshot.results.result import Result

OWN_ERROR = re.compile(r"± is [^.;]*? over (\w+)")  # how the protocol of a suite says what its ± is
UNITS = (  # how it says what n counts, the plainest first
    OWN_ERROR,
    re.compile(r"n and ± count (\w+)"),
    re.compile(r"mean (?:over|of) (?:the )?([^';,]+)[^;,]*, which n and ± count"),
    re.compile(r"mean over (\w+)"),
)
TOLERANCE = 1e-9


def guessed_reading(suite: str, protocol: str) -> Reading:
    """What a suite of this name and protocol would have said; its primary number is left to `guessed_primary`."""
    found = (pattern.search(protocol) for pattern in UNITS)
    return Reading(
        unit=next((match.group(1) for match in found if match), "objects"),
        error="mean" if OWN_ERROR.search(protocol) is None else "jackknife",
        drawn="whole videos" if suite == "video" else "photos",
        made_of_logits=suite == "edges",
    )


def guessed_primary(result: Result, photos: Sequence[Observation]) -> str | None:
    """Name of the first values of the observations whose count and mean are those of the result; None where there are none."""
    for name in dict.fromkeys(name for photo in photos for name in photo.values):
        values = [value for photo in photos for _, value in zip(photo.ids, photo.values.get(name, []), strict=False)]
        if has_mean(result, values):
            return name
    return None


def has_mean(result: Result, values: Sequence[float]) -> bool:
    """Whether the value of a result can be the mean of these."""
    if not values or result.value is None or len(values) != result.n:
        return False
    return abs(sum(values) / len(values) - result.value) < TOLERANCE
