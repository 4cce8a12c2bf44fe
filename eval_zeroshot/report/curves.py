"""The charts of one group: values with intervals, IoU histograms, click curves, precision and recall of edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from markupsafe import Markup

from eval_zeroshot.edges.counts import Counts
from eval_zeroshot.edges.scores import best_f
from eval_zeroshot.report.columns import CLICKS, Group, clicks_of, number_title
from eval_zeroshot.report.observed import Seen, primary_values
from eval_zeroshot.report.svg import BOTTOM, TOP, Chart, nice_range
from eval_zeroshot.results import Estimate, Result

BINS = 20  # of IoU
ISO_F = (0.2, 0.4, 0.6, 0.8)  # lines of equal F behind the curves
COUNTS = [field.name for field in fields(Counts)]
ROW, NAMES = 26, 150  # units of a drawing: a model's row, the column of names
MOST_LETTERS = 22  # of a name in that column
Styles = Mapping[str, str]  # model -> CSS class


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One or several charts under one caption; `small` ones stand beside each other with a heading each."""

    caption: str
    charts: tuple[tuple[str, Markup], ...]  # (heading, drawing)
    models: tuple[str, ...] = ()  # for the legend; none where headings name them
    small: bool = False


def figures(group: Group, seen: Mapping[str, Seen], *, styles: Styles) -> list[Figure]:
    """All charts that a group's results and observations have the numbers for.

    Args:
        seen: model -> observations, of those that are at hand.
        styles: model -> CSS class of its colour.
    """
    made = (
        values_chart(group, styles=styles),
        click_curves(group, styles=styles),
        histograms(group, seen, styles=styles),
        edge_curves(group, seen, styles=styles),
    )
    return [figure for figure in made if figure is not None]


def values_chart(group: Group, *, styles: Styles) -> Figure | None:
    """A dot for each model's value, with its interval or one standard error; None for a single model."""
    results = [result for result in group.results if result.value is not None]
    if len(results) < 2:
        return None
    ends = [spread(result) for result in results]
    limits = nice_range(end for pair in ends for end in pair)
    title = number_title(group.suite, "value")
    chart = Chart(
        label=f"{title} of each model",
        x=limits,
        y=(len(results), 0),
        x_title=title,
        y_ticks=(),
        height=TOP + BOTTOM + ROW * len(results),
        left=NAMES,
    )
    for row, (result, (low, high)) in enumerate(zip(results, ends, strict=True)):
        style, middle = styles[result.model], row + 0.5
        chart.text(limits[0], middle, shortened(result.model), style="name", anchor="end", down=4, right=-10)
        chart.segment((low, middle), (high, middle), style=f"whisker {style}")
        chart.dot(result.value or 0.0, middle, style=style, hint=f"{result.model}: {result.value:.3f}")
    what = "95 % intervals" if any(result.low is not None for result in results) else "one standard error"
    if all(low == high for low, high in ends):
        what = "no spread is known"
    return Figure(caption=f"{title}, {what}", charts=(("", chart.svg()),))


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
    """Objects by their number, mostly IoU, a chart for each model, on one scale; None without values of objects."""
    values: dict[str, list[float]] = {}
    for result in group.results:
        found = primary_values(result, seen[result.model]) if result.model in seen else None
        if found:
            values[result.model] = list(found.values())
    if not values or any(not 0 <= value <= 1 for line in values.values() for value in line):
        return None
    lower_is_better = group.results[0].direction == "lower"
    end = 1.0 if not lower_is_better else nice_range([0.0, *(value for line in values.values() for value in line)])[1]
    name = number_title(group.suite, "value") if lower_is_better else "IoU"
    unit = group.unit
    edges = np.linspace(0, end, BINS + 1)
    shares = {model: np.histogram(line, bins=edges)[0] / len(line) for model, line in values.items()}
    top = nice_range([0.0, *(float(share.max()) for share in shares.values())])
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
            hint = f"{name} {left:.3g} to {right:.3g}: {part:.1%} of {len(values[model])} {unit}"
            chart.bar((left, right), float(part), style=styles[model], hint=hint)
        chart.segment((median, 0), (median, top[1]), style="marker")
        anchor, shift = ("end", -0.015 * end) if median > 0.5 * end else ("start", 0.015 * end)
        chart.text(median + shift, top[1], f"median {median:.2f}", style="note", anchor=anchor, down=11)
        charts.append((model, chart.svg()))
    title = "" if lower_is_better else f" ({number_title(group.suite, 'value')})"
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


def shortened(name: str) -> str:
    """A name that fits into the column of names."""
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"


def outline(counts: Counts) -> Sequence[tuple[float, float]]:
    """(recall, precision) of each level that has edges; repeated points once."""
    pairs = zip(counts.recall.tolist(), counts.precision.tolist(), counts.edge.tolist(), strict=True)
    return list(dict.fromkeys((recall, precision) for recall, precision, edge in pairs if edge))


def counts_of(seen: Seen) -> dict[str, Counts]:
    """Photo's key -> edge counts, of observations that have them."""
    photos = {key: photo.values for key, photo in seen.photos.items() if set(COUNTS) <= set(photo.values)}
    return {key: Counts(**{name: np.asarray(values[name]) for name in COUNTS}) for key, values in photos.items()}


def spread(estimate: Estimate | Result) -> tuple[float, float]:
    """Ends of the interval, else one standard error to both sides, else the value twice."""
    value = estimate.value or 0.0
    if estimate.low is not None and estimate.high is not None:
        return estimate.low, estimate.high
    error = estimate.standard_error or 0.0
    return value - error, value + error
