"""Which cases the gallery shows: the worst and the median of one model, by a number of each case."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Case(Generic[Name]):
    """One object or photo: what it is called, how well it went, its size in pixels."""

    name: Name
    value: float
    area: float = 0.0


def worst_and_median(
    cases: Sequence[Case[Name]], *, count: int, higher_is_better: bool = True
) -> tuple[list[Case[Name]], list[Case[Name]]]:
    """`count` cases from the bad end and `count` around the median, fewer where there are fewer than three times as many.

    Of equally bad cases the larger come first: a miss of a large object shows more. An object is shown once.
    """
    sign = 1 if higher_is_better else -1
    ordered = sorted(cases, key=lambda case: (sign * case.value, -case.area, str(case.name)))
    count = min(count, max(1, len(ordered) // 3))
    worst = ordered[:count]
    start = max(0, (len(ordered) - count) // 2)
    median = [case for case in ordered[start : start + count] if case not in worst]
    return worst, median
