"""From results to grids: which columns a table has, what stands above and below them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval_zeroshot.metrics import SIZES
from eval_zeroshot.published import PublishedGroup
from eval_zeroshot.render import MISSING, Cell, Grid
from eval_zeroshot.results import Estimate, Result

TITLES = {
    ("box", "value"): "box mIoU",
    ("point", "value"): "1 click mIoU",
    ("box", "most_confident"): "best of 3",
    ("box", "oracle"): "oracle of 3",
    ("point", "oracle"): "oracle of 3",
    ("edges", "value"): "ODS",
    ("instance", "value"): "mask AP",
    ("saliency", "value"): "MAE (lower is better)",
    ("anomaly", "value"): "best pixel F1",
    ("video", "value"): "J&F",
    ("seginw", "value"): "mean mask AP",
}
ORDER = (
    *("most_confident", "oracle", "OIS", "AP", "R50", "AP50", "AP75", "APr", "APc", "APf"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "AR@300", "ARs@300", "ARm@300", "ARl@300"),
)  # clicks come before, further numbers follow by name, agreement last
CLICKS = re.compile(r"click_(\d+)")
Column = tuple[str, Callable[[Result], Cell]]  # a title and what stands below it
OWN_ERROR = re.compile(r"± is [^.;]*? over (\w+)")  # how the protocol of a suite says what its ± is
UNITS = (  # how it says what n counts, the plainest first
    OWN_ERROR,
    re.compile(r"n and ± count (\w+)"),
    re.compile(r"mean (?:over|of) (?:the )?([^';,]+)[^;,]*, which n and ± count"),
    re.compile(r"mean over (\w+)"),
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Results that may stand in one table: same data set, suite, version and protocol; teacher, students, baselines."""

    dataset: str
    suite: str
    version: str
    protocol: str
    results: tuple[Result, ...]

    @property
    def unit(self) -> str:
        """What n counts, as the protocol says; objects where it does not."""
        found = (pattern.search(self.protocol) for pattern in UNITS)
        return next((match.group(1) for match in found if match), "objects")

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
    columns: list[Column] = [
        ("model", lambda result: Cell(label(result))),
        (number_title(group.suite, "value"), lambda result: number(result.value)),
    ]
    if len({result.image_size for result in results if result.image_size is not None}) > 1:
        columns.append(("input px", _input_pixels))
    if any(result.padding is False for result in results):
        columns.append(("padding", _padding))
    if any(result.standard_error is not None for result in results):
        columns.append(("±", lambda result: number(result.standard_error)))
    if any(result.low is not None for result in results):
        columns.append(("95 % interval", interval))
    for other in dict.fromkeys(result.against for result in results if result.against and result.difference):
        columns += _difference_columns(other)
    for size in SIZES:
        if any(size in result.breakdown for result in results):
            columns.append((size, _of_breakdown(size)))
    for name in group.extras:
        columns.append((number_title(group.suite, name), _of_extra(name)))
    for reference in dict.fromkeys(result.reference for result in results if "agreement" in result.extra):
        columns.append((f"agrees with {reference}", _agreement_with(reference)))
    differ = len({result.n for result in results}) > 1
    if differ:
        columns.append(("n", lambda result: Cell(str(result.n), result.n)))
    return Grid(
        title=f"{group.suite} on {group.dataset}{boxes_of(group)}{'' if differ else f', n = {results[0].n}'}",
        header=[title for title, _ in columns],
        rows=[[cell(result) for _, cell in columns] for result in results],
        caption=f"Protocol {group.suite} {group.version}: {group.protocol}. {reading_note(group)}",
    )


def boxes_of(group: Group) -> str:
    """", boxes of DETECTOR" where the suite took a detector's, which tells apart what else has one name."""
    detector = group.results[0].detector
    return f", boxes of {detector}" if detector else ""


def summary_grid(dataset: str, groups: Sequence[Group]) -> Grid:
    """One line a model: each suite's value with its error, and agreement where any was measured."""
    members = {result.model: result for group in groups for result in group.results}
    order = sorted(members.values(), key=lambda result: result.sort_key[3:])
    header = ["model"]
    rows = {result.model: [Cell(label(result))] for result in order}
    for group in groups:
        found = {result.model: result for result in group.results}
        title = number_title(group.suite, "value") + told_apart(group, groups)
        header.append(title)
        agrees = any("agreement" in result.extra for result in group.results)
        if agrees:
            header.append(f"agreement, {title}")
        for model, row in rows.items():
            row.append(_with_error(found.get(model)))
            if agrees:
                row.append(mean(found[model].extra.get("agreement") if model in found else None))
    counted: dict[str, dict[str, None]] = {}
    for group in groups:
        counted.setdefault(f"n = {_counts(group.results)} {group.unit}", {})[group.suite] = None
    caption = "; ".join(f"{', '.join(suites)}: {count}" for count, suites in counted.items())
    return Grid(title=f"Summary on {dataset}", header=header, rows=list(rows.values()), caption=caption)


def told_apart(group: Group, groups: Sequence[Group]) -> str:
    """What a suite's column needs beside its name where the suite has several: its version or detector, if these differ."""
    same = [other for other in groups if other.suite == group.suite]
    if len(same) == 1:
        return ""
    parts = []
    if len({other.version for other in same}) > 1:
        parts.append(f"v{group.version}")
    if len({other.results[0].detector for other in same}) > 1:
        parts.append(str(group.results[0].detector).removesuffix(".json"))
    if not parts or [_key(other) for other in same].count(_key(group)) > 1:
        parts.append(f"protocol {same.index(group) + 1}")
    return f" ({', '.join(parts)})"


def _key(group: Group) -> tuple[str, str | None]:
    return group.version, group.results[0].detector


def published_grid(group: PublishedGroup) -> Grid:
    """One paper's numbers under its own protocol, in the unit it prints."""
    return Grid(
        title=f"{group.source}: {group.suite} on {group.dataset}, {group.unit}",
        header=["model", *group.metrics],
        rows=[[Cell(model), *map(_as_printed(group), values)] for model, values in group.numbers.items()],
        caption=f"Protocol: {group.protocol}. Source: {group.citation}.",
    )


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
    if OWN_ERROR.search(group.protocol) is None and any(result.standard_error is not None for result in group.results):
        text += f". ± is one standard error over {group.unit}"
    if any(result.low is not None for result in group.results):
        text += f". Intervals are 95 %, by bootstrap over {'whole videos' if group.suite == 'video' else 'photos'}"
    if any(result.difference for result in group.results):
        text += ". Differences are paired: both models on the same photos"
    return text


def number_title(suite: str, name: str) -> str:
    """What a number of a suite is called above its column."""
    if CLICKS.fullmatch(name):
        return f"{clicks_of(name)} clicks"
    family, _, variant = suite.partition("_")  # box_edgesam: the box suite by another protocol
    title = TITLES.get((family, name))
    if title is None:
        return suite if name == "value" else name.replace("_", " ")
    return f"{title} ({variant})" if variant and name == "value" else title


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

    return [(f"minus {other}", difference), ("95 % of the difference", lambda result: interval(paired(result)))]


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


def _with_error(result: Result | None) -> Cell:
    if result is None or result.value is None:
        return Cell(MISSING)
    error = "" if result.standard_error is None else f" ± {result.standard_error:.3f}"
    return Cell(f"{result.value:.3f}{error}", result.value)


def _counts(results: Sequence[Result]) -> str:
    return " / ".join(str(count) for count in dict.fromkeys(result.n for result in results))


def _as_printed(group: PublishedGroup) -> Callable[[float | None], Cell]:
    def cell(value: float | None) -> Cell:
        if value is None:
            return Cell(MISSING)
        return Cell(f"{value:.{group.digits}f}", value)

    return cell
