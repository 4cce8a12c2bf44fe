"""Which cases the gallery shows: the worst and the median of one model, by a number of each case, spread over photos."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Case(Generic[Name]):
    """One object or photo: what it is called, how well it went, its size in pixels, the photo that it is on."""

    name: Name
    value: float
    area: float = 0.0
    photo: Hashable = None


def worst_and_median(
    cases: Sequence[Case[Name]], *, count: int, higher_is_better: bool = True
) -> tuple[list[Case[Name]], list[Case[Name]]]:
    """`count` cases from the bad end and `count` around the median, fewer where there are fewer than three times as many.

    Of equally bad cases the larger come first: a miss of a large object shows more. An object is shown once; of two cases there
    is no median. A second object of a photo is shown only where there are not enough photos; cases without a photo stand for
    themselves.
    """
    sign = 1 if higher_is_better else -1
    ordered = sorted(cases, key=lambda case: (sign * case.value, -case.area, str(case.name)))
    count = min(count, max(1, len(ordered) // 3))
    middle = (len(ordered) - 1) / 2
    worst = _spread(range(len(ordered)), ordered)[:count]
    around = sorted(set(range(len(ordered))) - set(worst), key=lambda place: abs(place - middle))
    median = _spread(around, ordered)[:count] if len(ordered) > 2 else []
    return [ordered[place] for place in sorted(worst)], [ordered[place] for place in sorted(median)]


def _spread(places: Iterable[int], cases: Sequence[Case[Name]]) -> list[int]:
    """Places of cases in the order given, but the first of each photo before the second of any."""
    before: Counter[Hashable] = Counter()
    ranks = {}
    for place in places:
        photo = cases[place].name if cases[place].photo is None else cases[place].photo
        ranks[place] = before[photo]
        before[photo] += 1
    return sorted(ranks, key=lambda place: ranks[place])
