"""Draws accuracy against latency."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encoders.errors import MissingExtra
from encoders.files import atomic_path, write_errors
from eval_zeroshot.latency.report.pairing import Picture, Point

SIZE_INCHES, DOTS_PER_INCH = (8.0, 5.0), 150
MARKERS = "osD^vPX*<>hp"
LEFT = 0.35  # room for the names on the left, as a share of the points' span on the log scale
GREY = "#6b7280"


def frontier(points: Sequence[Point], *, higher: bool) -> list[Point]:
    """Points than which no other is both faster and more accurate, fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.milliseconds, -point.accuracy if higher else point.accuracy)):
        if not best or (point.accuracy > best[-1].accuracy if higher else point.accuracy < best[-1].accuracy):
            best.append(point)
    return best


def draw(picture: Picture, path: Path) -> None:
    """Write a PNG with a colour for each model, a marker for each runtime, and a line along the frontier.

    Raises:
        MissingExtra: matplotlib is not installed.
        InputError: the file cannot be written, as on a full disk.
    """
    figure_class, line_class = _matplotlib()
    figure = figure_class(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    models = list(dict.fromkeys(_label(point, picture) for point in picture.points))
    runtimes = list(dict.fromkeys(point.runtime for point in picture.points))
    best = frontier(picture.points, higher=picture.higher)
    axes.plot([p.milliseconds for p in best], [p.accuracy for p in best], color=GREY, linewidth=1, linestyle="--", zorder=1)
    for point in picture.points:
        axes.scatter(
            point.milliseconds,
            point.accuracy,
            s=70,
            color=f"C{models.index(_label(point, picture)) % 10}",
            marker=MARKERS[runtimes.index(point.runtime) % len(MARKERS)],
            alpha=0.45 if point.loaded else 1.0,
            edgecolors="white",
            linewidths=0.8,
            zorder=2,
        )
    _name_models(axes, picture, models)
    axes.set_xscale("log")
    axes.set_xlabel(f"milliseconds per call ({picture.subject})")
    axes.set_ylabel(f"{picture.suite} on {picture.dataset}" + ("" if picture.higher else " (lower is better)"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(f"{value:e}")[0] in "25" else "")
    axes.grid(visible=True, which="both", color="#e5e7eb", linewidth=0.6, zorder=0)
    axes.tick_params(axis="x", which="both", length=4, pad=4)
    fastest, slowest = (edge(p.milliseconds for p in picture.points) for edge in (min, max))
    span = max(slowest / fastest, 2.0)
    axes.set_xlim(fastest / span**LEFT, slowest * span**0.1)
    axes.margins(y=0.15)
    handles = [
        line_class([], [], color="black", marker=MARKERS[index % len(MARKERS)], linestyle="", label=runtime)
        for index, runtime in enumerate(runtimes)
    ]
    handles.append(line_class([], [], color=GREY, linestyle="--", linewidth=1, label="no other is faster and better"))
    if any(point.loaded for point in picture.points):
        busy = {"color": "black", "alpha": 0.45, "marker": "o", "linestyle": ""}
        handles.append(line_class([], [], label="pale: the machine was busy", **busy))
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    with write_errors(path), atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _name_models(axes: Any, picture: Picture, models: Sequence[str]) -> None:
    """Write each model's name once, left of its fastest point."""
    for index, model in enumerate(models):
        fastest = min((p for p in picture.points if _label(p, picture) == model), key=lambda p: p.milliseconds)
        axes.annotate(
            model,
            (fastest.milliseconds, fastest.accuracy),
            xytext=(-8, 4),
            textcoords="offset points",
            ha="right",
            color=f"C{index % 10}",
            fontsize=9,
        )


def _label(point: Point, picture: Picture) -> str:
    """The model's name, with the image size if the picture has the model at several."""
    sizes = {other.image_size for other in picture.points if other.model == point.model}
    return point.model if len(sizes) == 1 else f"{point.model} ({point.image_size} px)"


def _matplotlib() -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError as error:
        raise MissingExtra("matplotlib", extra="plots") from error
    return Figure, Line2D
