"""The comparison: results side by side, one table for each protocol, published numbers apart from measured ones."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from encoders.messages.shown import shown
from eval_zeroshot.report.choice import check_columns, fitting, with_columns
from eval_zeroshot.report.columns import Group, group_grid
from eval_zeroshot.report.latex import PREAMBLE, escape, grid_to_latex
from eval_zeroshot.report.papers import HEADING, published_fractions, published_grid
from eval_zeroshot.report.published import PublishedGroup, published_groups
from eval_zeroshot.report.render import Grid, grid_to_markdown, print_grid, to_markdown
from eval_zeroshot.report.summary import summary_grid
from eval_zeroshot.report.tidy import tidy_csv
from eval_zeroshot.results.result import Result

PLAIN_WIDTH = 120  # characters of a line of a terminal table in a file
MORE_COLUMNS = "Tables show the columns that fit; `repvit-sam compare RESULTS --columns all` shows all, or those that you name."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found.

    Attributes:
        groups: measured results.
        published: numbers from papers.
        notes: what a reader must know: superseded results, different numbers of objects.
        columns: which columns the tables of suites have; see `compare`.
    """

    groups: tuple[Group, ...]
    published: tuple[PublishedGroup, ...] = ()
    notes: tuple[str, ...] = field(default=())
    columns: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """For machines: all results and published rows, whole; all numbers are fractions."""
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
            "published": [row.model_dump(mode="json") for row in published_fractions(self.published)],
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """For a README: one Markdown table for each group."""
        parts = [grid_to_markdown(grid) for grid in self.measured()]
        parts += [f"Note: {to_markdown(note)}." for note in self.notes]
        if self.published:
            parts.append(f"### {HEADING}")
            parts += [grid_to_markdown(grid) for grid in map(published_grid, self.published)]
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """For a paper: one table environment for each group; needs booktabs."""
        parts = [PREAMBLE, *map(grid_to_latex, self.measured())]
        parts += [f"Note: {escape(note)}." for note in self.notes]
        if self.published:
            parts.append(rf"\paragraph{{{escape(HEADING)}}}")
            parts += [grid_to_latex(published_grid(group)) for group in self.published]
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """For a spreadsheet: one line a number; see `tidy_csv`."""
        return tidy_csv(self.groups, self.published)

    def terminal(self, console: Console | None = None) -> None:
        """Print to a terminal, stdout by default: the summary, then a table for each suite, with the columns that fit."""
        console = console or Console()
        cut = False
        for grid in self.measured():
            left_out: list[str] = []
            if not self.columns:
                grid, left_out = fitting(grid, width=console.width)
            print_grid(grid, console=console)
            if left_out:
                console.print(Text(f"Also measured: {shown('; '.join(left_out))}\n", style="dim"))
            cut = cut or bool(left_out)
        for note in self.notes:
            console.print(Text(f"Note: {shown(note)}.", style="yellow"))
        if cut:
            console.print(Text(MORE_COLUMNS, style="dim"))
        if self.published:
            console.print(Text(f"\n{HEADING}\n", style="bold magenta"))
            for group in self.published:
                print_grid(published_grid(group), console=console)

    def plain(self) -> str:
        """What a terminal shows, without colours, for a file."""
        console = Console(file=io.StringIO(), width=PLAIN_WIDTH)
        with console.capture() as captured:
            self.terminal(console)
        return captured.get()

    def measured(self) -> list[Grid]:
        """The tables of measured numbers: summaries of data sets with several groups, then groups with their chosen columns."""
        datasets = dict.fromkeys(group.dataset for group in self.groups)
        members = {name: [group for group in self.groups if group.dataset == name] for name in datasets}
        summaries = [summary_grid(name, groups) for name, groups in members.items() if len(groups) > 1]
        return summaries + [with_columns(group_grid(group), self.columns) for group in self.groups]


def compare(results: Iterable[Result], *, published: bool = False, columns: Sequence[str] = ()) -> Comparison:
    """Sort results into tables.

    Args:
        results: from `evaluate` or `read_results`, of any models, suites and data sets. Of two results of one model under
            the same protocol the later counts, and a note says so.
        published: add published numbers; those on suites that occur come first.
        columns: names of the columns of a suite's table, in this order: "value", "error", "interval", "difference",
            "agreement", "n", a size, or the name of a further number; "all" for every one. When empty, a terminal shows
            those that fit, other formats all.

    Raises:
        InputError: no table has a column of one of these names.
    """
    results = list(results)
    dataset_names, notes = _dataset_names(results)
    latest: dict[tuple[str, str, str, str, str], Result] = {}
    for result in results:
        dataset = dataset_names[result.dataset, result.dataset_sha256]
        key = (dataset, result.suite, result.version, result.protocol, result.model)
        if key in latest and _numbers_of(latest[key]) != _numbers_of(result):
            which = "; ".join(f"{_which(one)}{word}" for one, word in ((latest[key], " is left out"), (result, " is shown")))
            notes.append(f"{result.model} has several results in {result.suite} on {dataset}: {which}")
        latest[key] = result
    by_group: dict[tuple[str, str, str, str], list[Result]] = {}
    for key, result in latest.items():
        by_group.setdefault(key[:4], []).append(result)
    groups = []
    for (dataset, suite, version, protocol), members in sorted(by_group.items()):
        ordered = tuple(sorted(members, key=lambda result: result.sort_key))
        groups.append(Group(dataset=dataset, suite=suite, version=version, protocol=protocol, results=ordered))
        notes += _notes_of(groups[-1])
    check_columns(columns, map(group_grid, groups))
    families = {group.reading.family for group in groups}
    papers = tuple(sorted(published_groups(), key=lambda group: group.suite not in families)) if published else ()
    return Comparison(groups=tuple(groups), published=papers, notes=tuple(dict.fromkeys(notes)), columns=tuple(columns))


def _notes_of(group: Group) -> list[str]:
    """What a reader must know of the numbers of one table."""
    notes = []
    if len({result.n for result in group.results}) > 1:
        counts = ", ".join(f"{result.model} {result.n}" for result in group.results)
        notes.append(f"{group.suite} on {group.dataset} has different numbers of objects: {counts}")
    for result in group.results:
        reaches = f"{result.model} reaches 0 in {group.suite} on {group.dataset}"
        if group.reading.made_of_logits and result.role == "baseline" and result.value == 0:
            notes.append(f"{reaches}: it has no mask probabilities, which edges are made of")
        if "proposals" in result.extra and result.extra["proposals"].value == 0:
            notes.append(f"{reaches}: no mask passes the thresholds of predicted IoU and stability")
    return notes


def _numbers_of(result: Result) -> Result:
    """A result without what its suite says of it, which results of earlier versions lack."""
    return result.model_copy(update={"reading": None})


def _which(result: Result) -> str:
    """What tells results of one name apart."""
    size = "" if result.image_size is None else f" at {result.image_size} px"
    size += " without padding" if result.padding is False else ""
    weights = "" if result.model_sha256 is None else f" with weights {result.model_sha256[:8]}"
    return f"that{weights}{size} of {'–' if result.value is None else f'{result.value:.3f}'}"


def _dataset_names(results: Sequence[Result]) -> tuple[dict[tuple[str, str | None], str], list[str]]:
    """(name, sha256) -> what tables call a data set, its name unless several have it; and notes of those."""
    found: dict[str, dict[str | None, None]] = {}
    for result in results:
        found.setdefault(result.dataset, {})[result.dataset_sha256] = None
    names: dict[tuple[str, str | None], str] = {}
    notes = []
    for name, digests in found.items():
        if None in digests and len(digests) == 2:  # results of earlier versions have no checksum
            names[name, None] = name
            del digests[None]
            notes.append(f"some results on {name} do not say of which annotations they are; they are taken for the same")
        several = len(digests) > 1
        for digest in digests:
            names[name, digest] = f"{name} (annotations {(digest or 'unknown')[:8]})" if several else name
        if several:
            notes.append(f"{len(digests)} data sets are called {name}; the checksum of their annotations tells them apart")
    return names, notes


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "markdown": Comparison.markdown,
    "latex": Comparison.latex,
    "csv": Comparison.csv,
    "json": lambda comparison: json.dumps(comparison.json(), allow_nan=False) + "\n",
}
