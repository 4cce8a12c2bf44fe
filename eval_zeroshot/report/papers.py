"""Published numbers on the scale of the measured ones: fractions, where a paper prints percents too."""

from collections.abc import Iterable

from eval_zeroshot.report.published import PublishedGroup, PublishedRow
from eval_zeroshot.report.render import MISSING, Cell, Grid

HEADING = "Published numbers, each under its own protocol; not comparable with the tables above"


def published_grid(group: PublishedGroup) -> Grid:
    """One paper's numbers under its own protocol, as fractions with the digits that it prints."""
    return Grid(
        title=f"{group.source}: {group.suite} on {group.dataset}",
        header=["model", *group.metrics],
        rows=[[Cell(model), *(_cell(group, value) for value in values)] for model, values in group.numbers.items()],
        caption=f"Protocol: {group.protocol}. Source: {group.citation}{printed_note(group)}.",
    )


def published_fractions(groups: Iterable[PublishedGroup]) -> list[PublishedRow]:
    """One row for each number that there is, all of them fractions."""
    return [
        row.model_copy(update={"value": as_fraction(group, row.value), "unit": "fraction"})
        for group in groups
        for row in group.rows()
    ]


def as_fraction(group: PublishedGroup, value: float) -> float:
    """A number of a group as a fraction: a percent by 100."""
    return value if group.unit == "fraction" else round(value / 100, _digits(group))


def printed_note(group: PublishedGroup) -> str:
    """For the end of a source: that it prints percents, where it does."""
    return "" if group.unit == "fraction" else ", which prints percents"


def _cell(group: PublishedGroup, value: float | None) -> Cell:
    if value is None:
        return Cell(MISSING)
    fraction = as_fraction(group, value)
    return Cell(f"{fraction:.{_digits(group)}f}", fraction)


def _digits(group: PublishedGroup) -> int:
    """Digits behind the point of a fraction that keeps those of the source."""
    return group.digits + (0 if group.unit == "fraction" else 2)
