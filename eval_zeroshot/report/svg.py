"""Charts as inline SVG: axes, lines, bars. Colours are CSS classes, so that the page decides them for light and dark."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from encoders.messages.shown import shown

WIDTH, HEIGHT = 420, 300  # units of the drawing; text of 12 stays readable where the page shrinks it to a phone
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 42
STEPS = [round(factor * 10.0**power, 9) for power in range(-6, 7) for factor in (1, 2, 5)]  # between two ticks
MOST_TICKS = 6
Range = tuple[float, float]


@dataclass(kw_only=True)
class Chart:
    """A drawing with linear axes that grows by its methods.

    Args:
        label: what a reader who cannot see it is told.
        x, y: ranges shown.
        x_title, y_title: what the axes are.
        x_ticks, y_ticks: where; round numbers when None.
    """

    label: str
    x: Range
    y: Range
    x_title: str = ""
    y_title: str = ""
    x_ticks: Sequence[float] | None = None
    y_ticks: Sequence[float] | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    parts: list[Markup] = field(default_factory=list)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Data to units of the drawing."""
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * (right - self.left), bottom - up * (bottom - TOP)

    def line(self, points: Iterable[tuple[float, float]], *, style: str, hint: str = "") -> None:
        """A line through points, in the colour of a class; `hint` is shown under the pointer."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*point) for point in points))
        self._add('<polyline class="line {}" points="{}">{}</polyline>', style, path, _hint(hint))

    def dot(self, x: float, y: float, *, style: str, hint: str = "") -> None:
        """A point of the data."""
        across, down = self.place(x, y)
        self._add('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3.5">{}</circle>', style, across, down, _hint(hint))

    def segment(self, first: tuple[float, float], second: tuple[float, float], *, style: str) -> None:
        """A straight line: a whisker, a marker."""
        (x0, y0), (x1, y1) = self.place(*first), self.place(*second)
        self._add('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>', style, x0, y0, x1, y1)

    def bar(self, x: Range, height: float, *, style: str, hint: str = "") -> None:
        """A bar from zero, a little narrower than its range."""
        (x0, y0), (x1, y1) = self.place(x[0], height), self.place(x[1], 0)
        shape = (x0 + 0.5, y0, max(0.0, x1 - x0 - 1), max(0.0, y1 - y0))
        pattern = '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>'
        self._add(pattern, style, *shape, _hint(hint))

    def text(
        self, x: float, y: float, words: str, *, style: str, anchor: str = "start", down: float = 0, right: float = 0
    ) -> None:
        """Words at a place of the data, moved `down` and to the `right` by units of the drawing."""
        across, along = self.place(x, y)
        pattern = '<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'
        self._add(pattern, style, across + right, along + down, anchor, words)

    def svg(self) -> Markup:
        """The finished drawing."""
        body = Markup("").join([*self._axes(), *self.parts])
        pattern = '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        return written(pattern, self.width, self.height, self.label, body)

    def _axes(self) -> list[Markup]:
        before, self.parts = self.parts, []
        bottom = self.height - BOTTOM
        for value in ticks(self.x, self.x_ticks):
            across, _ = self.place(value, self.y[0])
            self._add('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>', across, TOP, bottom)
            self._add('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{:g}</text>', across, bottom + 16, value)
        for value in ticks(self.y, self.y_ticks):
            _, down = self.place(self.x[0], value)
            self._add('<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>', self.left, self.width - RIGHT, down)
            self._add('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{:g}</text>', self.left - 6, down + 4, value)
        middle = (self.left + self.width - RIGHT) / 2
        self._add('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>', middle, self.height - 8, self.x_title)
        upright = '<text class="axis" transform="translate(12 {}) rotate(-90)" text-anchor="middle">{}</text>'
        self._add(upright, (TOP + bottom) / 2, self.y_title)
        axes, self.parts = self.parts, before
        return axes

    def _add(self, pattern: str, *values: object) -> None:
        self.parts.append(written(pattern, *values))


def written(pattern: str, *values: object, **named: object) -> Markup:
    """A pattern of ours filled with values, of which plain text is made safe to show and escaped."""
    return Markup(pattern).format(*map(safe, values), **{name: safe(value) for name, value in named.items()})


def safe(value: object) -> object:
    """Text from outside as it may be shown; markup of ours and what is no text as it is."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def step_of(values: Iterable[float]) -> float:
    """A round step that takes values from the least to the greatest in a few ticks; 0.1 where they are one."""
    found = list(values)
    span = max(found, default=0.0) - min(found, default=0.0)
    if not 0 < span < np.inf:
        return 0.1
    return next((step for step in STEPS if span / step <= MOST_TICKS), span / MOST_TICKS)


def nice_range(values: Iterable[float], *, step: float = 0.1, low: float = 0.0, high: float = 1.0) -> Range:
    """The multiples of `step` around values, within [low, high]; at least one step wide."""
    found = list(values)
    first = max(low, float(np.floor(min(found, default=low) / step) * step))
    last = min(high, float(np.ceil(max(found, default=high) / step) * step))
    if last - first < step / 2:
        first, last = max(low, first - step), min(high, last + step)
    return round(first, 6), round(last, 6)


def ticks(limits: Range, given: Sequence[float] | None = None) -> Sequence[float]:
    """Where an axis has its ticks: as given, else at round numbers."""
    if given is not None:
        return given
    if not np.isfinite(10 * (limits[1] - limits[0])):  # nothing that was measured
        return limits
    step = step_of(limits)
    first, last = int(np.ceil(limits[0] / step - 1e-9)), int(np.floor(limits[1] / step + 1e-9))
    return [round(step * number, 6) for number in range(first, last + 1)]


def _hint(words: str) -> Markup:
    return written("<title>{}</title>", words) if words else Markup("")
