"""What results of earlier versions do not say of themselves, guessed from the words and numbers that they have."""

import re
from collections.abc import Sequence

from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.reading import PromptKind, Reading
from eval_zeroshot.results.result import Result

OWN_ERROR = re.compile(r"± is [^.;]*? over (\w+)")  # how the protocol of a suite says what its ± is
UNITS = (  # how it says what n counts, the plainest first
    OWN_ERROR,
    re.compile(r"n and ± count (\w+)"),
    re.compile(r"mean (?:over|of) (?:the )?([^';,]+)[^;,]*, which n and ± count"),
    re.compile(r"mean over (\w+)"),
)
TITLES = {
    "box": "box mIoU",
    "point": "1 click mIoU",
    "edges": "ODS",
    "instance": "mask AP",
    "saliency": "MAE (lower is better)",
    "anomaly": "best pixel F1",
    "video": "J&F",
    "seginw": "mean mask AP",
    "agreement": "agreement",
}
FURTHER_TITLES = {
    "box": {"most_confident": "best of 3", "oracle": "oracle of 3"},
    "point": {"oracle": "oracle of 3"},
}
PROMPTS: dict[str, PromptKind] = {"box": "box", "saliency": "box", "point": "point"}
TOLERANCE = 1e-9


def guessed_reading(suite: str, protocol: str) -> Reading:
    """What a suite of this name and protocol would have said; its primary number is left to `guessed_primary`."""
    found = (pattern.search(protocol) for pattern in UNITS)
    family, _, variant = suite.partition("_")  # box_edgesam: the box suite by another protocol
    title = TITLES.get(family)
    return Reading(
        unit=next((match.group(1) for match in found if match), "objects"),
        error="mean" if OWN_ERROR.search(protocol) is None else "jackknife",
        drawn="whole videos" if suite == "video" else "photos",
        made_of_logits=suite == "edges",
        prompt=PROMPTS.get(family),
        title=f"{title} ({variant})" if title and variant else title,
        further_titles=FURTHER_TITLES.get(family, {}),
        family=family,
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
