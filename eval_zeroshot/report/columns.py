"""From results to grids: which columns a table has, what stands above and below them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from eval_zeroshot.metrics.masks import SIZES
from eval_zeroshot.report.guessed import guessed_reading
from eval_zeroshot.report.render import MISSING, Cell, Grid
from eval_zeroshot.results.reading import Reading
from eval_zeroshot.results.result import Estimate, Result

ORDER = (
    *("most_confident", "oracle", "OIS", "AP", "R50", "AP50", "AP75", "APr", "APc", "APf"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "AR@300", "ARs@300", "ARm@300", "ARl@300"),
)  # clicks come before, further numbers follow by name, agreement last
CLICKS = re.compile(r"click_(\d+)")


class Column(NamedTuple):
    """What a user calls a column, its title, and what stands below it."""

    key: str
    title: str
    cell: Callable[[Result], Cell]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Results that may stand in one table: same data set, suite, version and protocol; teacher, students, baselines."""

    dataset: str
    suite: str
    version: str
    protocol: str
    results: tuple[Result, ...]

    @property
    def reading(self) -> Reading:
        """What the suite says of its numbers, guessed where all results are of earlier versions."""
        said = (result.reading for result in self.results if result.reading is not None)
        return next(said, None) or guessed_reading(self.suite, self.protocol)

    @property
    def unit(self) -> str:
        """What n counts."""
        return self.reading.unit

    @property
    def extras(self) -> list[str]:
        """Names of the further numbers of any result, in the order of columns; agreement is not among them."""
        names = {name for result in self.results for name in result.extra if name != "agreement"}
        clicks = sorted((name for name in names if CLICKS.fullmatch(name)), key=clicks_of)
        ordered = clicks + [name for name in ORDER if name in names]
        return ordered + sorted(names - set(ordered))


def clicks_of(name: str) -> int:
    """How many clicks `click_N` stands for."""
    found = CLICKS.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is no number of clicks; expected click_N")
    return int(found.group(1))


def group_grid(group: Group) -> Grid:
    """All numbers of one group: value with error and interval, paired difference, sizes, further numbers, agreement, n."""
    results = group.results
    columns = _columns(group)
    counts = "" if any(column.key == "n" for column in columns) else f", n = {results[0].n}"
    return Grid(
        title=f"{group.suite} on {group.dataset}{boxes_of(group)}{counts}",
        header=[column.title for column in columns],
        rows=[[column.cell(result) for column in columns] for result in results],
        caption=f"Protocol {group.suite} {group.version}: {group.protocol}. {reading_note(group)}",
        keys=[column.key for column in columns],
    )


def _columns(group: Group) -> list[Column]:
    """What any result of a group has."""
    results = group.results
    columns = [
        Column("model", "model", lambda result: Cell(label(result))),
        Column("value", number_title(group, "value"), lambda result: number(result.value)),
    ]
    if len({result.image_size for result in results if result.image_size is not None}) > 1:
        columns.append(Column("image_size", "input px", _input_pixels))
    if any(result.padding is False for result in results):
        columns.append(Column("padding", "padding", _padding))
    if any(result.standard_error is not None for result in results):
        columns.append(Column("error", "±", lambda result: number(result.standard_error)))
    if any(result.low is not None for result in results):
        columns.append(Column("interval", "95 % interval", interval))
    for other in dict.fromkeys(result.against for result in results if result.against and result.difference):
        columns += _difference_columns(other)
    columns += [Column(size, size, _of_breakdown(size)) for size in SIZES if any(size in each.breakdown for each in results)]
    columns += [Column(name, number_title(group, name), _of_extra(name)) for name in group.extras]
    for reference in dict.fromkeys(result.reference for result in results if "agreement" in result.extra):
        columns.append(Column("agreement", f"agrees with {reference}", _agreement_with(reference)))
    if len({result.n for result in results}) > 1:
        columns.append(Column("n", "n", lambda result: Cell(str(result.n), result.n)))
    return columns


def boxes_of(group: Group) -> str:
    """", boxes of DETECTOR" where the suite took a detector's, which tells apart what else has one name."""
    detector = group.results[0].detector
    return f", boxes of {detector}" if detector else ""


def reading_note(group: Group) -> str:
    """What a reader must know to read a group's table: photos, what was left out, what the errors are."""
    first = group.results[0]
    parts = [f"{first.images} photos"]
    skipped = ", ".join(f"{count} {reason}" for reason, count in sorted(first.skipped.items()))
    if group.unit == "objects":
        parts.append(f"skipped objects: {skipped or 'none'}")
    elif skipped:
        parts.append(f"skipped: {skipped}")
    text = "; ".join(parts)
    if group.reading.error == "mean" and any(result.standard_error is not None for result in group.results):
        text += f". ± is one standard error over {group.unit}"
    if any(result.low is not None for result in group.results):
        text += f". Intervals are 95 %, by bootstrap over {group.reading.drawn}"
    if any(result.difference for result in group.results):
        text += ". Differences are paired: both models on the same photos"
    return text


def number_title(group: Group, name: str) -> str:
    """What a number of a suite is called above its column."""
    if CLICKS.fullmatch(name):
        return f"{clicks_of(name)} clicks"
    if name == "value":
        return group.reading.title or group.suite
    return group.reading.further_titles.get(name) or name.replace("_", " ")


def label(result: Result) -> str:
    """A model's name, with its role where it is not a student."""
    return result.model if result.role == "student" else f"{result.model} ({result.role})"


def number(value: float | None) -> Cell:
    """Three digits behind the point, a dash for nothing."""
    return Cell(MISSING if value is None else f"{value:.3f}", value)


def mean(estimate: Estimate | None) -> Cell:
    """The value of an estimate."""
    return number(None if estimate is None else estimate.value)


def interval(estimate: Estimate | None) -> Cell:
    """Both ends of an interval; sorted by the lower."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return Cell(MISSING)
    return Cell(f"{minus(f'{estimate.low:.3f}')} … {minus(f'{estimate.high:.3f}')}", estimate.low)


def minus(text: str) -> str:
    """A number with a minus sign that is as wide as a plus sign."""
    return text.replace("-", "−")


def _difference_columns(other: str) -> list[Column]:
    def paired(result: Result) -> Estimate | None:
        return result.difference if result.against == other else None

    def difference(result: Result) -> Cell:
        estimate = paired(result)
        if estimate is None or estimate.value is None:
            return Cell(MISSING)
        return Cell(minus(f"{estimate.value:+.3f}"), estimate.value)

    return [
        Column("difference", f"minus {other}", difference),
        Column("difference", "95 % of the difference", lambda result: interval(paired(result))),
    ]


def _input_pixels(result: Result) -> Cell:
    return Cell(MISSING if result.image_size is None else str(result.image_size), result.image_size)


def _padding(result: Result) -> Cell:
    return Cell("no" if result.padding is False else "yes", int(result.padding is not False))


def _of_breakdown(size: str) -> Callable[[Result], Cell]:
    return lambda result: mean(result.breakdown.get(size))


def _of_extra(name: str) -> Callable[[Result], Cell]:
    return lambda result: mean(result.extra.get(name))


def _agreement_with(reference: str | None) -> Callable[[Result], Cell]:
    return lambda result: mean(result.extra.get("agreement") if result.reference == reference else None)
