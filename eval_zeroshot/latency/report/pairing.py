"""Pairs results of `eval` with rows of `latency` that were made with the same input."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from encoders.errors import InputError
from eval_zeroshot.latency.report.selecting import of_one, of_size, select_results, select_rows
from eval_zeroshot.latency.rows.labels import is_confirmed, runtime_labels
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.results.result import Result

Sized = tuple[str, int | None]  # model, and S in pixels where it is known


@dataclass(frozen=True, kw_only=True)
class Point:
    """Accuracy and latency of a model in a runtime; the runtime with version and precision if it occurs with several."""

    model: str
    runtime: str
    milliseconds: float
    accuracy: float
    loaded: bool
    image_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Contents of a plot.

    Attributes:
        suite, dataset: of the accuracy; higher: whether a higher accuracy is better.
        subject: what all latencies have in common, in words.
        left_out: models of which only accuracy or only latency is known.
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
    version: str | None = None,
    protocol: str | None = None,
    dataset: str | None = None,
    padding: bool | None = None,
    image_size: int | None = None,
    part: str = "encoder",
    threads: int | None = None,
    device: str | None = None,
    call: str | None = None,
    runtimes: Sequence[str] = (),
) -> Picture:
    """Pair results and latencies of the same model and image size.

    Args:
        suite, version, protocol, dataset, padding: of the results; threads, device, call: of the rows. Each is required if
            there are several. A call is, for example, "prompts 64".
        image_size: S in pixels; None takes all sizes.
        runtimes: all if none is named.

    Raises:
        InputError: a choice is missing or matches nothing, two results contradict each other, or no model has both.
    """
    results = select_results(results, suite=suite, version=version, protocol=protocol, dataset=dataset, padding=padding)
    padded = results[0].padding is None
    rows = select_rows(rows, part=part, runtimes=runtimes, padded=padded)
    if image_size is not None:
        results = of_size(results, image_size, what="results")
        rows = of_size(rows, image_size, what="latencies")
    rows = of_one(rows, [row.device for row in rows], device, option="--device", what="devices")
    wanted = None if threads is None else str(threads)
    counts = [str(row.threads) for row in rows]
    rows = of_one(rows, counts, wanted, option="--threads", what="numbers of threads")
    calls = [row.call for row in rows]
    if any(calls) or call is not None:
        rows = of_one(rows, calls, call, option="--call", what="kinds of call")
    accuracy = _accuracy(results)
    paired = [(row, _partner(row, rows, accuracy)) for row in rows]
    labels = runtime_labels(rows)
    points = [
        Point(
            model=row.model,
            runtime=label,
            milliseconds=row.p50_ms,
            accuracy=accuracy[partner],
            loaded=row.loaded,
            image_size=row.image_size or partner[1],
        )
        for (row, partner), label in zip(paired, labels, strict=True)
        if partner is not None and row.p50_ms is not None
    ]
    timed: list[Sized] = [(row.model, row.image_size) for row in rows]
    if not points:
        raise InputError(
            f"no model has both at one image size: timed are {_names(timed)}, evaluated are {_names(accuracy)}; "
            "use the same name and image size in eval and latency"
        )
    drawn = {partner for _, partner in paired if partner is not None}
    missing = [one for one in accuracy if one not in drawn]
    missing += [(row.model, row.image_size) for row, partner in paired if partner is None]
    return Picture(
        points=tuple(points),
        suite=results[0].suite,
        dataset=results[0].dataset,
        higher=results[0].direction == "higher",
        subject=_subject(rows, points, part=part),
        left_out=tuple(_name(one) for one in dict.fromkeys(missing)),
    )


def _accuracy(results: Sequence[Result]) -> dict[Sized, float]:
    """Value by model and image size."""
    found: dict[Sized, float] = {}
    for result in results:
        assert result.value is not None
        key = result.model, result.image_size
        if found.setdefault(key, result.value) != result.value:
            values = f"{found[key]:g} and {result.value:g}"
            raise InputError(f"{_name(key)} has two different results, {values}; leave one of them out of --results")
    return found


def _partner(row: LatencyRow, rows: Sequence[LatencyRow], accuracy: dict[Sized, float]) -> Sized | None:
    """The accuracy that belongs to a row, or None. An image size that one side does not say must leave no doubt."""
    if (row.model, row.image_size) in accuracy:
        return row.model, row.image_size
    if row.image_size is None:
        candidates = [one for one in accuracy if one[0] == row.model]
        sizes = {size for _, size in candidates}
    else:
        candidates = [(row.model, None)] if (row.model, None) in accuracy else []
        sizes = {other.image_size for other in rows if other.model == row.model} if candidates else set()
    if len(sizes) > 1:
        known = ", ".join(str(size) for size in sorted(size for size in sizes if size is not None))
        raise InputError(f"{row.model} has several image sizes ({known} px) and one unknown; choose one with --image-size")
    return candidates[0] if candidates else None


def _subject(rows: Sequence[LatencyRow], points: Sequence[Point], *, part: str) -> str:
    words = [part, rows[0].device]
    if rows[0].threads is not None:
        words.append(f"{rows[0].threads} thread{'s' if rows[0].threads > 1 else ''}")
        unconfirmed = dict.fromkeys(row.runtime for row in rows if not is_confirmed(row))
        words[-1] += f" (not confirmed by {', '.join(unconfirmed)})" if unconfirmed else ""
    sizes = {point.image_size for point in points}
    words += [f"{size} px" for size in sizes if size is not None and len(sizes) == 1]
    return ", ".join(word for word in [*words, rows[0].call] if word)


def _name(one: Sized) -> str:
    model, size = one
    return model if size is None else f"{model} ({size} px)"


def _names(found: Iterable[Sized]) -> str:
    return ", ".join(dict.fromkeys(_name(one) for one in found))
