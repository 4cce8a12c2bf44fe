"""Rows side by side: models against runtimes for each machine, then everything that is known of each row, then citations."""

from collections.abc import Iterable, Sequence

from eval_zeroshot.latency.published import published_latencies
from eval_zeroshot.latency.rows import PARTS, LatencyRow
from eval_zeroshot.render import MISSING, Cell, Grid

PUBLISHED_HEADING = "Published latencies, as their authors print them; not comparable with the tables above"
LOADED_MARK = "!"
LEGEND = (
    f"ms: median of warm calls of one image; in brackets the ratio to the baseline in the same runtime. {LOADED_MARK}: other "
    "programs were busy meanwhile. Memory: what the process had at most, and by how much more than before it opened the model."
)


def latency_grids(rows: Iterable[LatencyRow], *, published: bool = True) -> list[Grid]:
    """Tables of measured and imported rows, all machines together, and of published ones.

    Args:
        rows: from `run_lab`, `read_rows` or `read_latencies`.
        published: add the citation rows, in a table of their own.
    """
    rows = list(rows)
    grids = [grid for part in PARTS for grid in _of_part([row for row in rows if row.part == part], part=part)]
    return grids + ([published_grid()] if published else [])


def _of_part(rows: Sequence[LatencyRow], *, part: str) -> list[Grid]:
    if not rows:
        return []
    machines: dict[tuple[str, int | None, int | None], list[LatencyRow]] = {}
    for row in rows:
        machines.setdefault((row.device, row.threads, row.image_size), []).append(row)
    wide = [
        _pivot(members, title=_title(part, *machine)) for machine, members in machines.items() if _worth_a_pivot(members)
    ]
    return [*wide, _details(rows, part=part)]


def _worth_a_pivot(rows: Sequence[LatencyRow]) -> bool:
    return len({row.runtime for row in rows}) > 1 and len({row.model for row in rows}) > 1


def _title(part: str, device: str, threads: int | None, image_size: int | None) -> str:
    facts = [device, "" if threads is None else f"{threads} thread{'s' if threads > 1 else ''}"]
    facts.append("" if image_size is None else f"{image_size} px")
    return f"{part}: {', '.join(fact for fact in facts if fact)} (ms)"


def _pivot(rows: Sequence[LatencyRow], *, title: str) -> Grid:
    """Models down, runtimes across."""
    runtimes = list(dict.fromkeys(row.runtime for row in rows))
    found = {(row.model, row.runtime): row for row in rows}
    lines = []
    for model in dict.fromkeys(row.model for row in rows):
        cells = [found.get((model, runtime)) for runtime in runtimes]
        lines.append([Cell(model), *(Cell(_short(row), row.p50_ms if row else None) for row in cells)])
    return Grid(title=title, header=["model", *(name.replace("_", " ") for name in runtimes)], rows=lines)


def _short(row: LatencyRow | None) -> str:
    """`612 (0.41)`."""
    if row is None:
        return MISSING
    if row.p50_ms is None:
        return row.how
    ratio = "" if row.ratio_to_baseline is None else f" ({ratio_text(row.ratio_to_baseline)})"
    return f"{number(row.p50_ms)}{ratio}{LOADED_MARK if row.loaded else ''}"


HEADER = [
    "model", "runtime", "precision", "device", "threads", "px", "p50", "p90", "p99", "CPU ms", "calls", "ratio", "95 %", "load",
    "first call", "memory MB", "images/s by batch", "placement",
]  # fmt: skip


def _details(rows: Sequence[LatencyRow], *, part: str) -> Grid:
    told: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.note:
            told.setdefault((row.runtime, row.note), []).append(row.model)
    notes = [f"{runtime} ({', '.join(dict.fromkeys(models))}): {note}." for (runtime, note), models in told.items()]
    lines = [_line(row) for row in rows]
    used = [column for column in range(len(HEADER)) if any(line[column].text != MISSING for line in lines)]
    return Grid(
        title=f"{part}: all of it (ms)",
        header=[HEADER[column] for column in used],
        rows=[[line[column] for column in used] for line in lines],
        caption=" ".join([LEGEND, *notes]),
    )


def _line(row: LatencyRow) -> list[Cell]:
    interval = MISSING
    if row.ratio_low is not None and row.ratio_high is not None:
        interval = f"{ratio_text(row.ratio_low)}–{ratio_text(row.ratio_high)}"
    memory = MISSING
    if row.peak_mb is not None:
        more = "" if row.start_mb is None else f" (+{row.peak_mb - row.start_mb:.0f})"
        memory = f"{row.peak_mb:.0f}{more}"
    threads = MISSING if row.threads is None else str(row.threads)
    if row.threads_effective not in (None, row.threads):
        threads += f" (says {row.threads_effective})"
    return [
        Cell(row.model),
        Cell(row.runtime),
        Cell(row.precision or MISSING),
        Cell(row.device or MISSING),
        Cell(threads, row.threads),
        Cell(MISSING if row.image_size is None else str(row.image_size), row.image_size),
        Cell(row.how if row.p50_ms is None else number(row.p50_ms) + (LOADED_MARK if row.loaded else ""), row.p50_ms),
        *(Cell(number(value), value) for value in (row.p90_ms, row.p99_ms, row.cpu_ms)),
        Cell(str(row.calls), row.calls),
        Cell(MISSING if row.ratio_to_baseline is None else ratio_text(row.ratio_to_baseline), row.ratio_to_baseline),
        Cell(interval),
        *(Cell(number(value), value) for value in (row.load_ms, row.first_call_ms)),
        Cell(memory, row.peak_mb),
        Cell(", ".join(f"{batch}: {value:.2f}" for batch, value in row.throughput.items()) or MISSING),
        Cell(", ".join(f"{name} {100 * one.cost:.0f} %" for name, one in row.placement.items()) or MISSING),
    ]


def number(value: float | None) -> str:
    """Three digits that count, none behind the point from 100 on."""
    if value is None:
        return MISSING
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio_text(value: float) -> str:
    """Two digits behind the point, three of small ratios."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def published_grid() -> Grid:
    """What authors print of models like ours."""
    lines, citations = [], []
    for group in published_latencies():
        citations.append(group.citation)
        for model in group.numbers:
            about = (group.part, group.device, group.runtime, group.precision, group.image_size)
            cells = [Cell(MISSING if fact is None else str(fact)) for fact in about]
            lines.append([Cell(model), Cell(group.shown(model)), *cells, Cell(group.source)])
    header = ["model", "printed", "part", "device", "runtime", "precision", "px", "source"]
    return Grid(title=PUBLISHED_HEADING, header=header, rows=lines, caption="; ".join(dict.fromkeys(citations)) + ".")
