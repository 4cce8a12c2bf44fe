"""The plot of values with their intervals: a row for each model, its name, its interval, its number, as wide as the page."""

from collections.abc import Mapping

from markupsafe import Markup

from eval_zeroshot.report.columns import Group, number_title
from eval_zeroshot.report.svg import Range, nice_range, step_of, ticks, written
from eval_zeroshot.results.result import Estimate

Styles = Mapping[str, str]  # model -> CSS class


def intervals(group: Group, *, styles: Styles) -> Markup | None:
    """A dot for each model's value, with its interval or one standard error; None for a single model.

    The axis goes from the lowest to the highest end. Rows are HTML and their drawings have widths in percents, so that names
    and numbers keep their size on a phone and wrap rather than being cut.
    """
    results = [result for result in group.results if result.value is not None]
    if len(results) < 2:
        return None
    ends = [end for result in results for end in spread(result)]
    limits = nice_range(ends, step=step_of(ends), low=min(0.0, *ends), high=max(1.0, *ends))
    grid = Markup("").join(
        written('<line class="grid" x1="{0}" x2="{0}" y1="0" y2="100%"/>', _place(tick, limits)) for tick in ticks(limits)
    )
    rows = [_row(result, result.model, style=styles[result.model], limits=limits, grid=grid) for result in results]
    labels = Markup("").join(
        written('<text class="tick" x="{}" y="14" text-anchor="middle">{:g}</text>', _place(tick, limits), tick)
        for tick in ticks(limits)
    )
    drawn = written('<span class="track"><svg class="chart">{}</svg></span>', labels)
    axis = written('<li class="axis" aria-hidden="true"><span></span>{}<span></span></li>', drawn)
    title = number_title(group, "value")
    return written('<ul class="intervals" aria-label="{} of each model">{}</ul>', title, Markup("").join([*rows, axis]))


def spread(estimate: Estimate) -> Range:
    """Ends of the interval, else one standard error to both sides, else the value twice."""
    value = estimate.value or 0.0
    if estimate.low is not None and estimate.high is not None:
        return estimate.low, estimate.high
    error = estimate.standard_error or 0.0
    return value - error, value + error


def spread_name(group: Group) -> str:
    """What the ends of a group's intervals are."""
    if any(result.low is not None for result in group.results):
        return "95 % intervals"
    if any(result.standard_error for result in group.results):
        return "one standard error"
    return "no spread is known"


def _row(estimate: Estimate, model: str, *, style: str, limits: Range, grid: Markup) -> Markup:
    value = estimate.value or 0.0
    low, high = spread(estimate)
    pattern = (
        '<li><span class="name named"><span class="swatch {style}" aria-hidden="true"></span>{model}</span>'
        '<span class="track"><svg class="chart" aria-hidden="true">{grid}'
        '<line class="whisker {style}" x1="{low}" x2="{high}" y1="50%" y2="50%"/>'
        '<circle class="dot {style}" cx="{middle}" cy="50%" r="4"><title>{hint}</title></circle></svg></span>'
        '<span class="number">{value:.3f}</span></li>'
    )
    hint = f"{model}: {value:.3f}, {low:.3f} to {high:.3f}"
    places = {"low": _place(low, limits), "high": _place(high, limits), "middle": _place(value, limits)}
    return written(pattern, style=style, model=model, grid=grid, hint=hint, value=value, **places)


def _place(value: float, limits: Range) -> str:
    return f"{100 * (value - limits[0]) / (limits[1] - limits[0]):.2f}%"
