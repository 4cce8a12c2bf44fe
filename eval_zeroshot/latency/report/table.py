"""Tables of rows: models against runtimes for each machine, then all facts of each row, then published latencies."""

from collections.abc import Iterable, Sequence

from eval_zeroshot.latency.host import is_loaded
from eval_zeroshot.latency.rows.labels import is_mixed, runtime_labels, threads_label
from eval_zeroshot.latency.rows.published import published_latencies
from eval_zeroshot.latency.rows.row import PARTS, LatencyRow
from eval_zeroshot.report.render import MISSING, Cell, Grid

PUBLISHED_HEADING = "Published latencies, as their authors print them; not comparable with the tables above"
LOADED_MARK = "!"
LEGEND = (
    "ms: median of warm calls with one image. Ratio, in brackets: median of the round medians divided by the baseline's in the "
    f"same runtime, over the rounds that both have. {LOADED_MARK}: other programs were busy meanwhile. Not confirmed: the "
    "runtime does not report how many threads it used. Memory: maximum of the process, and its increase since before the model "
    "was opened."
)


def latency_grids(rows: Iterable[LatencyRow], *, published: bool = True) -> list[Grid]:
    """Tables of measured and imported rows, all machines together, and of published latencies.

    Args:
        rows: from `run_lab`, `read_rows` or `read_latencies`.
        published: add the published latencies, in a table of their own.
    """
    rows = list(rows)
    grids = [grid for part in PARTS for grid in _of_part([row for row in rows if row.part == part], part=part)]
    return grids + ([published_grid()] if published else [])


def _of_part(rows: Sequence[LatencyRow], *, part: str) -> list[Grid]:
    if not rows:
        return []
    groups: dict[tuple[object, ...], list[LatencyRow]] = {}
    for row in rows:
        groups.setdefault((row.device, threads_label(row), row.image_size, row.call), []).append(row)
    wide = [_pivot(members, part=part) for members in groups.values() if _worth_a_pivot(members)]
    return [*wide, _details(rows, part=part)]


def _worth_a_pivot(rows: Sequence[LatencyRow]) -> bool:
    return is_mixed(row.runtime for row in rows) and is_mixed(row.model for row in rows)


def _pivot(rows: Sequence[LatencyRow], *, part: str) -> Grid:
    """Models down, runtimes across, for rows of one machine, number of threads, image size and call."""
    columns: dict[str, dict[str, list[str]]] = {}
    values: dict[tuple[str, str], float | None] = {}
    for row, label in zip(rows, runtime_labels(rows), strict=True):
        columns.setdefault(label, {}).setdefault(row.model, []).append(_short(row))
        values.setdefault((label, row.model), row.p50_ms)
    lines = []
    for model in dict.fromkeys(row.model for row in rows):
        cells = [Cell(" / ".join(found.get(model, [MISSING])), values.get((label, model))) for label, found in columns.items()]
        lines.append([Cell(model), *cells])
    return Grid(title=_title(rows[0], part=part), header=["model", *columns], rows=lines)


def _title(row: LatencyRow, *, part: str) -> str:
    threads = threads_label(row)
    noun = "thread" if row.threads == 1 else "threads"
    number_, _, remark = threads.partition(" ")
    facts = [row.device, f"{number_} {noun} {remark}".strip() if threads else ""]
    facts += ["" if row.image_size is None else f"{row.image_size} px", row.call]
    return f"{part}: {', '.join(fact for fact in facts if fact)} (ms)"


def _short(row: LatencyRow) -> str:
    """`612 (0.41)`."""
    if row.p50_ms is None:
        return row.how
    ratio = "" if row.ratio_to_baseline is None else f" ({ratio_text(row.ratio_to_baseline)})"
    return f"{number(row.p50_ms)}{ratio}{LOADED_MARK if row.loaded else ''}"


HEADER = [
    "model", "runtime", "version", "precision", "device", "threads", "px", "about", "p50", "p90", "p99", "CPU ms", "calls",
    "ratio", "95 %", "load", "first call", "memory MB", "GPU memory MB", "images/s by batch", "placement",
]  # fmt: skip


def _details(rows: Sequence[LatencyRow], *, part: str) -> Grid:
    by_note: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.note:
            by_note.setdefault((row.runtime, row.note), []).append(row.model)
    notes = [f"{runtime} ({', '.join(dict.fromkeys(models))}): {note}." for (runtime, note), models in by_note.items()]
    versions: dict[str, set[str]] = {}
    for row in rows:
        if row.runtime_name is not None:
            versions.setdefault(row.runtime, set()).add(row.runtime_name)
    lines = [_line(row, version=len(versions.get(row.runtime, ())) > 1) for row in rows]
    used = [column for column in range(len(HEADER)) if any(line[column].text != MISSING for line in lines)]
    return Grid(
        title=f"{part}: all facts (ms)",
        header=[HEADER[column] for column in used],
        rows=[[line[column] for column in used] for line in lines],
        caption=" ".join([LEGEND, *notes]),
    )


def _line(row: LatencyRow, *, version: bool) -> list[Cell]:
    """A row of `_details`; version: show which of several versions of the runtime it is."""
    interval = MISSING
    if row.ratio_low is not None and row.ratio_high is not None:
        interval = f"{ratio_text(row.ratio_low)}–{ratio_text(row.ratio_high)}"
    memory = MISSING
    if row.peak_mb is not None:
        more = "" if row.start_mb is None else f" (+{row.peak_mb - row.start_mb:.0f})"
        memory = f"{row.peak_mb:.0f}{more}"
    detail = ", ".join(f"{name} {value}" for name, value in row.detail.items() if name != "compute units")
    return [
        Cell(row.model),
        Cell(row.runtime),
        Cell((row.runtime_name if version else None) or MISSING),
        Cell(row.precision or MISSING),
        Cell(row.device or MISSING),
        Cell(threads_label(row) or MISSING, row.threads),
        Cell(MISSING if row.image_size is None else str(row.image_size), row.image_size),
        Cell(detail or MISSING),
        Cell(row.how if row.p50_ms is None else number(row.p50_ms) + (LOADED_MARK if row.loaded else ""), row.p50_ms),
        *(Cell(number(value), value) for value in (row.p90_ms, row.p99_ms, row.cpu_ms)),
        Cell(str(row.calls), row.calls),
        Cell(MISSING if row.ratio_to_baseline is None else ratio_text(row.ratio_to_baseline), row.ratio_to_baseline),
        Cell(interval),
        *(Cell(number(value), value) for value in (row.load_ms, row.first_call_ms)),
        Cell(memory, row.peak_mb),
        Cell(MISSING if row.device_peak_mb is None else f"{row.device_peak_mb:.0f}", row.device_peak_mb),
        Cell(", ".join(_throughput(row, batch) for batch in row.throughput) or MISSING),
        Cell(", ".join(f"{name} {100 * one.cost:.0f} %" for name, one in row.placement.items()) or MISSING),
    ]


def _throughput(row: LatencyRow, batch: int) -> str:
    """`8: 3.10!`."""
    mark = LOADED_MARK if is_loaded(row.throughput_other_cpu.get(batch)) else ""
    return f"{batch}: {row.throughput[batch]:.2f}{mark}"


def number(value: float | None) -> str:
    """A number with three significant digits, or all digits before the point."""
    if value is None:
        return MISSING
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio_text(value: float) -> str:
    """A ratio with two decimals, or three below 0.1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def published_grid() -> Grid:
    """Latencies that authors print of models like ours."""
    lines, citations = [], []
    for group in published_latencies():
        citations.append(group.citation)
        for model in group.numbers:
            about = (group.part, group.device, group.runtime, group.precision, group.image_size)
            cells = [Cell(MISSING if fact is None else str(fact)) for fact in about]
            lines.append([Cell(model), Cell(group.shown(model)), *cells, Cell(group.source)])
    header = ["model", "printed", "part", "device", "runtime", "precision", "px", "source"]
    return Grid(title=PUBLISHED_HEADING, header=header, rows=lines, caption="; ".join(dict.fromkeys(citations)) + ".")
