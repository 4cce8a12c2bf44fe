"""The summary of a data set: one line a model, its value in every suite."""

from collections.abc import Sequence

from eval_zeroshot.report.columns import Group, label, mean, number_title
from eval_zeroshot.report.render import MISSING, Cell, Grid
from eval_zeroshot.results.result import Result


def summary_grid(dataset: str, groups: Sequence[Group]) -> Grid:
    """One line a model: each suite's value with its error, and agreement where any was measured."""
    members = {result.model: result for group in groups for result in group.results}
    order = sorted(members.values(), key=lambda result: result.sort_key[3:])
    header, keys = ["model"], ["model"]
    rows = {result.model: [Cell(label(result))] for result in order}
    for group in groups:
        found = {result.model: result for result in group.results}
        title = number_title(group, "value") + told_apart(group, groups)
        header.append(title)
        keys.append("value")
        agrees = any("agreement" in result.extra for result in group.results)
        if agrees:
            header.append(f"agreement, {title}")
            keys.append("agreement")
        for model, row in rows.items():
            row.append(_with_error(found.get(model)))
            if agrees:
                row.append(mean(found[model].extra.get("agreement") if model in found else None))
    counted: dict[str, dict[str, None]] = {}
    for group in groups:
        counted.setdefault(f"n = {_counts(group.results)} {group.unit}", {})[group.suite] = None
    caption = "; ".join(f"{', '.join(suites)}: {count}" for count, suites in counted.items())
    return Grid(title=f"Summary on {dataset}", header=header, rows=list(rows.values()), caption=caption, keys=keys)


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


def _with_error(result: Result | None) -> Cell:
    if result is None or result.value is None:
        return Cell(MISSING)
    error = "" if result.standard_error is None else f" ± {result.standard_error:.3f}"
    return Cell(f"{result.value:.3f}{error}", result.value)


def _counts(results: Sequence[Result]) -> str:
    return " / ".join(str(count) for count in dict.fromkeys(result.n for result in results))
