"""A picture of accuracy against latency, from results of `eval` and rows of `latency`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import InputError, MissingExtra, did_you_mean
from encoders.files import atomic_path
from eval_zeroshot.latency.rows import LatencyRow
from eval_zeroshot.results import Result

SIZE_INCHES, DOTS_PER_INCH = (8.0, 5.0), 150
MARKERS = "osD^vPX*<>hp"
LEFT = 0.35  # of the points' span on the log scale, for the names left of them
GREY = "#6b7280"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model in a runtime."""

    model: str
    runtime: str
    milliseconds: float
    accuracy: float
    loaded: bool


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is drawn.

    Attributes:
        suite, dataset: that the accuracy is of; higher: whether more of it is better.
        subject: what the latencies have in common, in words.
    """

    points: tuple[Point, ...]
    suite: str
    dataset: str
    higher: bool
    subject: str
    left_out: tuple[str, ...] = ()


def choose(
    results: Sequence[Result],
    rows: Sequence[LatencyRow],
    *,
    suite: str | None = None,
    dataset: str | None = None,
    part: str = "encoder",
    threads: int | None = None,
    device: str | None = None,
    runtimes: Sequence[str] = (),
) -> Picture:
    """Match results with latencies by the model's name.

    Args:
        suite, dataset, threads, device: needed where there are several; runtimes: all where none is named.

    Raises:
        InputError: a choice is not there or is not made, or no model has both.
    """
    suite = _one([result.suite for result in results], suite, option="--suite", what="suites")
    results = [result for result in results if result.suite == suite and result.value is not None]
    dataset = _one([result.dataset for result in results], dataset, option="--data", what="data sets")
    results = [result for result in results if result.dataset == dataset]
    rows = [row for row in rows if row.part == part and row.p50_ms is not None]
    if not rows:
        raise InputError(f"no latency of the part {part!r} is given; measure it, or choose another --part")
    for runtime in runtimes:
        _one([row.runtime for row in rows], runtime, option="--runtime", what="runtimes")
    rows = [row for row in rows if not runtimes or row.runtime in runtimes]
    device = _one([row.device for row in rows], device, option="--device", what="devices")
    rows = [row for row in rows if row.device == device]
    counts = {str(row.threads) for row in rows}
    chosen = _one(sorted(counts), None if threads is None else str(threads), option="--threads", what="numbers of threads")
    rows = [row for row in rows if str(row.threads) == chosen]
    accuracy = {result.model: result.value for result in results if result.value is not None}
    points = [
        Point(
            model=row.model,
            runtime=row.runtime,
            milliseconds=row.p50_ms,
            accuracy=accuracy[row.model],
            loaded=row.loaded,
        )
        for row in rows
        if row.model in accuracy and row.p50_ms is not None
    ]
    if not points:
        timed, measured = ", ".join(dict.fromkeys(row.model for row in rows)), ", ".join(accuracy)
        raise InputError(f"no model has both: timed are {timed}, evaluated are {measured}; use one name in eval and latency")
    drawn = {point.model for point in points}
    missing = [name for name in dict.fromkeys([*accuracy, *(row.model for row in rows)]) if name not in drawn]
    words = [part, device, "" if chosen == "None" else f"{chosen} thread{'s' if chosen != '1' else ''}"]
    return Picture(
        points=tuple(points),
        suite=suite,
        dataset=dataset,
        higher=results[0].direction == "higher",
        subject=", ".join(word for word in words if word),
        left_out=tuple(missing),
    )


def _one(found: Sequence[str], wanted: str | None, *, option: str, what: str) -> str:
    """The one that is wanted, or the only one."""
    names = list(dict.fromkeys(found))
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"{option} {wanted}: there are the {what} {', '.join(names)}{did_you_mean(wanted, names)}")
        return wanted
    if len(names) != 1:
        raise InputError(f"there are {len(names)} {what} ({', '.join(names)}); choose one with {option}")
    return names[0]


def frontier(points: Sequence[Point], *, higher: bool) -> list[Point]:
    """Points that none beats in both, fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.milliseconds, -point.accuracy if higher else point.accuracy)):
        if not best or (point.accuracy > best[-1].accuracy if higher else point.accuracy < best[-1].accuracy):
            best.append(point)
    return best


def draw(picture: Picture, path: Path) -> None:
    """Write a PNG: a colour a model, a marker a runtime, the best of both along a line.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure_class, line_class = _matplotlib()
    figure = figure_class(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    models = list(dict.fromkeys(point.model for point in picture.points))
    runtimes = list(dict.fromkeys(point.runtime for point in picture.points))
    best = frontier(picture.points, higher=picture.higher)
    axes.plot([p.milliseconds for p in best], [p.accuracy for p in best], color=GREY, linewidth=1, linestyle="--", zorder=1)
    for point in picture.points:
        axes.scatter(
            point.milliseconds,
            point.accuracy,
            s=70,
            color=f"C{models.index(point.model) % 10}",
            marker=MARKERS[runtimes.index(point.runtime) % len(MARKERS)],
            alpha=0.45 if point.loaded else 1.0,
            edgecolors="white",
            linewidths=0.8,
            zorder=2,
        )
    _name_models(axes, picture, models)
    axes.set_xscale("log")
    axes.set_xlabel(f"milliseconds a call ({picture.subject})")
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
        line_class([], [], color="black", marker=MARKERS[index % len(MARKERS)], linestyle="", label=runtime.replace("_", " "))
        for index, runtime in enumerate(runtimes)
    ]
    handles.append(line_class([], [], color=GREY, linestyle="--", linewidth=1, label="none is both faster and better"))
    if any(point.loaded for point in picture.points):
        handles.append(line_class([], [], color="black", alpha=0.45, marker="o", linestyle="", label="pale: machine was busy"))
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _name_models(axes: Any, picture: Picture, models: Sequence[str]) -> None:
    """Each model's name once, left of its fastest point."""
    for index, model in enumerate(models):
        fastest = min((p for p in picture.points if p.model == model), key=lambda p: p.milliseconds)
        axes.annotate(
            model,
            (fastest.milliseconds, fastest.accuracy),
            xytext=(-8, 4),
            textcoords="offset points",
            ha="right",
            color=f"C{index % 10}",
            fontsize=9,
        )


def _matplotlib() -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError as error:
        raise MissingExtra("matplotlib", extra="plots") from error
    return Figure, Line2D
