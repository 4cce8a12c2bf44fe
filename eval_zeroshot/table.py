"""The comparison: results side by side, one table for each protocol, published numbers apart from measured ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from eval_zeroshot.metrics import SIZES
from eval_zeroshot.published import PublishedGroup, published_groups
from eval_zeroshot.render import Grid, grid_to_markdown, print_grid
from eval_zeroshot.results import Estimate, Result

TITLES = {
    ("box", "value"): "box mIoU",
    ("point", "value"): "1 click mIoU",
    ("box", "most_confident"): "best of 3",
    ("box", "oracle"): "oracle of 3",
    ("point", "oracle"): "oracle of 3",
    ("point", "click_3"): "3 clicks",
    ("point", "click_5"): "5 clicks",
    ("edges", "value"): "ODS",
    ("saliency", "value"): "MAE (lower is better)",
    ("anomaly", "value"): "best pixel F1",
    ("video", "value"): "J&F",
    ("seginw", "value"): "mean mask AP",
}
INSTANCE = "instance_"  # before the name of a protocol
PUBLISHED_HEADING = "Published numbers, each under its own protocol; not comparable with the tables above"
ORDER = ("click_3", "click_5", "most_confident", "oracle", "OIS", "AP", "R50")  # further numbers follow by name, agreement last


@dataclass(frozen=True, kw_only=True)
class Group:
    """Results that may stand in one table: same data set, suite, version and protocol; teacher, students, baselines."""

    dataset: str
    suite: str
    version: str
    protocol: str
    results: tuple[Result, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found.

    Attributes:
        groups: measured results.
        published: numbers from papers.
        notes: what a reader must know: superseded results, different numbers of objects.
    """

    groups: tuple[Group, ...]
    published: tuple[PublishedGroup, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def json(self) -> dict[str, Any]:
        """For machines: all results and published rows, whole."""
        return {
            "groups": [
                {
                    "dataset": group.dataset,
                    "suite": group.suite,
                    "version": group.version,
                    "protocol": group.protocol,
                    "results": [result.model_dump(mode="json") for result in group.results],
                }
                for group in self.groups
            ],
            "published": [row.model_dump(mode="json") for group in self.published for row in group.rows()],
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """For a README: one Markdown table for each group."""
        parts = [grid_to_markdown(grid) for grid in self._measured()]
        parts += [f"Note: {note}." for note in self.notes]
        if self.published:
            parts.append(f"### {PUBLISHED_HEADING}")
            parts += [grid_to_markdown(grid) for grid in map(published_grid, self.published)]
        return "\n\n".join(parts) + "\n"

    def terminal(self, console: Console | None = None) -> None:
        """Print to a terminal, stdout by default."""
        console = console or Console()
        for grid in self._measured():
            print_grid(grid, console=console)
        for note in self.notes:
            console.print(f"Note: {note}.", style="yellow", markup=False)
        if self.published:
            console.print(f"{PUBLISHED_HEADING}\n", style="bold magenta", markup=False)
            for group in self.published:
                print_grid(published_grid(group), console=console)

    def _measured(self) -> list[Grid]:
        datasets = dict.fromkeys(group.dataset for group in self.groups)
        grids = []
        for dataset in datasets:
            groups = [group for group in self.groups if group.dataset == dataset]
            if len(groups) > 1:
                grids.append(summary_grid(dataset, groups))
            grids += [group_grid(group) for group in groups]
        return grids


def compare(results: Iterable[Result], *, published: bool = True) -> Comparison:
    """Sort results into tables.

    Args:
        results: from `evaluate` or `read_results`, of any models, suites and data sets. Of two results of one model under
            the same protocol the later counts, and a note says so.
        published: add published numbers; those on suites that occur come first.
    """
    latest: dict[tuple[str, str, str, str, str], Result] = {}
    notes = []
    for result in results:
        key = (result.dataset, result.suite, result.version, result.protocol, result.model)
        if key in latest and latest[key] != result:
            notes.append(f"{result.model} has several results in {result.suite} on {result.dataset}; the last is shown")
        latest[key] = result
    by_group: dict[tuple[str, str, str, str], list[Result]] = {}
    for key, result in latest.items():
        by_group.setdefault(key[:4], []).append(result)
    groups = []
    for (dataset, suite, version, protocol), members in sorted(by_group.items()):
        ordered = tuple(sorted(members, key=lambda result: result.sort_key))
        groups.append(Group(dataset=dataset, suite=suite, version=version, protocol=protocol, results=ordered))
        if len({result.n for result in ordered}) > 1:
            counts = ", ".join(f"{result.model} {result.n}" for result in ordered)
            notes.append(f"{suite} on {dataset} has different numbers of objects: {counts}")
    suites = {"instance" if group.suite.startswith(INSTANCE) else group.suite for group in groups}
    papers = tuple(sorted(published_groups(), key=lambda group: group.suite not in suites)) if published else ()
    return Comparison(groups=tuple(groups), published=papers, notes=tuple(dict.fromkeys(notes)))


def group_grid(group: Group) -> Grid:
    """All numbers of one group: value with its error, sizes, further numbers, agreement, n."""
    results = group.results
    names = {name for result in results for name in result.extra if name != "agreement"}
    extras = [name for name in ORDER if name in names] + sorted(names - set(ORDER))
    sizes = [size for size in SIZES if any(size in result.breakdown for result in results)]
    differ = len({result.n for result in results}) > 1
    references = list(dict.fromkeys(result.reference for result in results if "agreement" in result.extra))
    header = [
        "model",
        _title(group.suite, "value"),
        "±",
        *sizes,
        *(_title(group.suite, name) for name in extras),
        *(f"agrees with {reference}" for reference in references),
        *(["n"] if differ else []),
    ]
    rows = []
    for result in results:
        agreements = [result.extra.get("agreement") if result.reference == other else None for other in references]
        further = [*(result.breakdown.get(size) for size in sizes), *(result.extra.get(name) for name in extras)]
        rows.append(
            [
                _label(result),
                _number(result.value),
                _number(result.standard_error),
                *(_mean(estimate) for estimate in [*further, *agreements]),
                *([str(result.n)] if differ else []),
            ]
        )
    caption = f"Protocol {group.suite} {group.version}: {group.protocol}. {_left_out(results)}"
    count = "" if differ else f", n = {results[0].n}"
    return Grid(title=f"{group.suite} on {group.dataset}{count}", header=header, rows=rows, caption=caption)


def summary_grid(dataset: str, groups: Sequence[Group]) -> Grid:
    """One line a model: each suite's value with its error, and agreement."""
    header = ["model"]
    cells: dict[str, list[str]] = {}
    members = {result.model: result for group in groups for result in group.results}
    order = sorted(members.values(), key=lambda result: result.sort_key[3:])
    for result in order:
        cells[result.model] = [_label(result)]
    for group in groups:
        found = {result.model: result for result in group.results}
        # Two versions of a suite are two columns; the version is named only where it tells them apart.
        version = f" (v{group.version})" if sum(other.suite == group.suite for other in groups) > 1 else ""
        header += [_title(group.suite, "value") + version, f"{group.suite} agreement{version}"]
        for model, row in cells.items():
            row.append(_with_error(found.get(model)))
            row.append(_mean(found[model].extra.get("agreement") if model in found else None))
    counts = "; ".join(f"{group.suite}: n = {_counts(group.results)}" for group in groups)
    return Grid(title=f"Summary on {dataset}", header=header, rows=list(cells.values()), caption=counts)


def published_grid(group: PublishedGroup) -> Grid:
    """One paper's numbers under its own protocol, in the unit it prints."""
    digits = 1 if group.unit == "percent" else 3
    rows = [[model, *(f"{value:.{digits}f}" for value in values)] for model, values in group.numbers.items()]
    return Grid(
        title=f"{group.source}: {group.suite} on {group.dataset}, {group.unit}",
        header=["model", *group.metrics],
        rows=rows,
        caption=f"Protocol: {group.protocol}. Source: {group.citation}.",
    )


def _title(suite: str, name: str) -> str:
    if name == "value" and suite.startswith(INSTANCE):
        return f"mask AP ({suite.removeprefix(INSTANCE)})"
    return TITLES.get((suite, name)) or (suite if name == "value" else name.replace("_", " "))


def _label(result: Result) -> str:
    return result.model if result.role == "student" else f"{result.model} ({result.role})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mean(estimate: Estimate | None) -> str:
    return "–" if estimate is None else _number(estimate.value)


def _with_error(result: Result | None) -> str:
    if result is None or result.value is None:
        return "–"
    error = "" if result.standard_error is None else f" ± {result.standard_error:.3f}"
    return f"{result.value:.3f}{error}"


def _counts(results: Sequence[Result]) -> str:
    return " / ".join(str(count) for count in dict.fromkeys(result.n for result in results))


def _left_out(results: Sequence[Result]) -> str:
    first = results[0]
    skipped = ", ".join(f"{count} {reason}" for reason, count in sorted(first.skipped.items()))
    return f"{first.images} photos; skipped objects: {skipped or 'none'}. ± is one standard error over objects"
