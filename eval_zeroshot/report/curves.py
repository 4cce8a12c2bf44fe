"""The charts of one group: values with intervals, click curves, histograms of IoU, precision and recall of edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from markupsafe import Markup

from eval_zeroshot.report.columns import CLICKS, Group, clicks_of, number_title
from eval_zeroshot.report.intervals import intervals, spread, spread_name
from eval_zeroshot.report.observed import Seen, primary_values
from eval_zeroshot.report.svg import Chart, nice_range, step_of
from eval_zeroshot.results.result import Estimate
from eval_zeroshot.suites.edges.counts import Counts
from eval_zeroshot.suites.edges.scores import best_f

BINS = 20  # of IoU
ISO_F = (0.2, 0.4, 0.6, 0.8)  # lines of equal F behind the curves
COUNTS = [field.name for field in fields(Counts)]
Styles = Mapping[str, str]  # model -> CSS class


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One or several charts under one caption; `small` ones stand beside each other with a heading each, a `wide` one alone."""

    caption: str
    charts: tuple[tuple[str, Markup], ...]  # (heading, drawing)
    models: tuple[str, ...] = ()  # for the legend; none where headings name them
    small: bool = False
    wide: bool = False


def figures(group: Group, seen: Mapping[str, Seen], *, styles: Styles) -> list[Figure]:
    """All charts that a group's results and observations have the numbers for.

    Args:
        seen: model -> observations, of those that are at hand.
        styles: model -> CSS class of its colour.
    """
    title, plot = f"{number_title(group, 'value')}, {spread_name(group)}", intervals(group, styles=styles)
    made = (
        None if plot is None else Figure(caption=title, charts=(("", plot),), wide=True),
        click_curves(group, styles=styles),
        histograms(group, seen, styles=styles),
        edge_curves(group, seen, styles=styles),
    )
    return [figure for figure in made if figure is not None]


def click_curves(group: Group, *, styles: Styles) -> Figure | None:
    """Mean IoU over the number of clicks; None where fewer than two numbers of clicks were measured."""
    lines: dict[str, dict[int, Estimate]] = {}
    for result in group.results:
        found = {clicks_of(name): estimate for name, estimate in result.extra.items() if CLICKS.fullmatch(name)}
        if found:
            lines[result.model] = {1: result, **dict(sorted(found.items()))}
    known = [e for line in lines.values() for e in line.values() if e.value is not None]
    if not known:
        return None
    counts = sorted({count for line in lines.values() for count in line})
    chart = Chart(
        label="mean IoU over the number of clicks of each model",
        x=(min(counts) - 0.3, max(counts) + 0.3),
        y=nice_range(end for estimate in known for end in spread(estimate)),
        x_title="clicks",
        y_title="mIoU",
        x_ticks=counts,
    )
    for model, line in lines.items():
        points = [(count, estimate) for count, estimate in line.items() if estimate.value is not None]
        chart.line([(count, e.value or 0.0) for count, e in points], style=styles[model], hint=model)
        for count, estimate in points:
            low, high = spread(estimate)
            chart.segment((count, low), (count, high), style=f"whisker {styles[model]}")
            hint = f"{model}, {count} clicks: {estimate.value:.3f}"
            chart.dot(count, estimate.value or 0.0, style=styles[model], hint=hint)
    return Figure(caption="Mean IoU over the number of clicks", charts=(("", chart.svg()),), models=tuple(lines))


def histograms(group: Group, seen: Mapping[str, Seen], *, styles: Styles) -> Figure | None:
    """Objects by their number, mostly IoU, a chart for each model, on one scale; None without values of objects.

    The scale is that of teacher and students: a baseline's bar may go beyond it, and then says how far.
    """
    values: dict[str, list[float]] = {}
    for result in group.results:
        found = primary_values(result, seen[result.model]) if result.model in seen else None
        if found:
            values[result.model] = list(found.values())
    if not values or any(not 0 <= value <= 1 for line in values.values() for value in line):
        return None
    lower_is_better = group.results[0].direction == "lower"
    end = 1.0 if not lower_is_better else nice_range([0.0, *(value for line in values.values() for value in line)])[1]
    name = number_title(group, "value") if lower_is_better else "IoU"
    unit = group.unit
    edges = np.linspace(0, end, BINS + 1)
    shares = {model: np.histogram(line, bins=edges)[0] / len(line) for model, line in values.items()}
    baselines = {result.model for result in group.results if result.role == "baseline"}
    scale = [share for model, share in shares.items() if model not in baselines] or list(shares.values())
    highest = [0.0, *(float(share.max()) for share in scale)]
    top = nice_range(highest, step=step_of(highest))
    charts = []
    for model, share in shares.items():
        median = float(np.median(values[model]))
        chart = Chart(
            label=f"{unit} of {model} by {name}, median {median:.3f}",
            x=(0, end),
            y=top,
            x_title=name,
            x_ticks=tuple(end * part for part in (0, 0.25, 0.5, 0.75, 1)),
            width=280,
            height=190,
            left=32,
        )
        for left, right, part in zip(edges, edges[1:], share, strict=False):
            hint = f"{name} {left:.3g} to {right:.3g}: {part:.3f} of {len(values[model])} {unit}"
            chart.bar((left, right), min(float(part), top[1]), style=styles[model], hint=hint)
            if part > top[1]:
                beside = ("start", right + 0.01 * end) if left < end / 2 else ("end", left - 0.01 * end)
                chart.text(beside[1], top[1], f"↑ {part:.2f}", style="note", anchor=beside[0], down=26)
        chart.segment((median, 0), (median, top[1]), style="marker")
        anchor, shift = ("end", -0.015 * end) if median > 0.5 * end else ("start", 0.015 * end)
        chart.text(median + shift, top[1], f"median {median:.2f}", style="note", anchor=anchor, down=11)
        charts.append((model, chart.svg()))
    title = "" if lower_is_better else f" ({number_title(group, 'value')})"
    return Figure(caption=f"Share of {unit} by {name}{title}", charts=tuple(charts), small=True)


def edge_curves(group: Group, seen: Mapping[str, Seen], *, styles: Styles) -> Figure | None:
    """Precision over recall of edges, all photos together, a dot where F is best; None where no model has an edge."""
    totals = {}
    for result in group.results:
        photos = counts_of(seen[result.model]) if result.model in seen else {}
        if photos and len(photos) == result.n and (total := Counts.total(photos.values())).edge.any():
            totals[result.model] = total
    if not totals:
        return None
    ticks = (0, 0.2, 0.4, 0.6, 0.8, 1)
    chart = Chart(
        label="precision over recall of the edges of each model",
        x=(0, 1),
        y=(0, 1),
        x_title="recall",
        y_title="precision",
        x_ticks=ticks,
        y_ticks=ticks,
        height=400,
    )
    for f in ISO_F:
        recall = np.linspace(f / (2 - f), 1, 40)
        chart.line([(r, f * r / (2 * r - f)) for r in recall], style="iso")
        chart.text(1, f / (2 - f), f"F {f:g}", style="iso-label", anchor="end", down=-4)
    for model, counts in totals.items():
        chart.line(outline(counts), style=styles[model], hint=model)
        best = best_f(counts)
        chart.dot(best.recall, best.precision, style=styles[model], hint=f"{model}: ODS {best.f:.3f}")
    caption = "Precision over recall of edges; the dot is the best F (ODS), grey lines have equal F"
    return Figure(caption=caption, charts=(("", chart.svg()),), models=tuple(totals))


def outline(counts: Counts) -> Sequence[tuple[float, float]]:
    """(recall, precision) of each level that has edges; repeated points once."""
    pairs = zip(counts.recall.tolist(), counts.precision.tolist(), counts.edge.tolist(), strict=True)
    return list(dict.fromkeys((recall, precision) for recall, precision, edge in pairs if edge))


def counts_of(seen: Seen) -> dict[str, Counts]:
    """Photo's key -> edge counts, of observations that have them."""
    photos = {key: photo.values for key, photo in seen.photos.items() if set(COUNTS) <= set(photo.values)}
    return {key: Counts(**{name: np.asarray(values[name]) for name in COUNTS}) for key, values in photos.items()}
