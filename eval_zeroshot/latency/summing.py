"""From what was measured to rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from encoders.export.job import host_facts, package_versions
from eval_zeroshot.latency import host
from eval_zeroshot.latency.blocks import Measured
from eval_zeroshot.latency.figures import paired_ratio, percentiles
from eval_zeroshot.latency.rows import LatencyRow
from eval_zeroshot.latency.subjects import Spec


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What all rows of a run share; busy_before: processors that others kept busy before it began."""

    versions: dict[str, str]
    host: dict[str, str | int | float]
    baseline: str | None = None
    busy_before: float | None = None


def shared_facts(*, baseline: str | None, busy_before: float | None) -> Facts:
    """Versions of the packages involved, and the machine in words that name nobody."""
    return Facts(versions=package_versions(), host=host_facts(), baseline=baseline, busy_before=busy_before)


def sum_up(measured: Measured, facts: Facts, *, others: Sequence[Measured]) -> LatencyRow:
    """The row of one subject.

    Args:
        others: of the same block, among them its baseline.
    """
    spec, start = measured.spec, measured.start
    wall = [value for timing in measured.rounds for value in timing.wall_ms]
    cpu = [value for timing in measured.rounds for value in timing.cpu_ms]
    round_ms, round_cpu_ms = rounds_of(measured)
    p50, p90, p99 = percentiles(wall)
    busy = _other_cpu([measured])
    if busy is None:  # too short to tell by itself
        busy = _other_cpu(others)
    if busy is None:
        busy = facts.busy_before
    ratio, low, high, cpu_ratio = _ratios(measured, facts, others)
    return LatencyRow(
        **(_common(spec, facts) | ({"device": start.device} if start.device else {})),
        runtime_name=start.name,
        threads_effective=start.threads,
        precision=start.precision,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        cpu_ms=median(cpu),
        calls=len(wall),
        round_ms=round_ms,
        round_cpu_ms=round_cpu_ms,
        load_ms=start.load_ms,
        first_call_ms=start.first_call_ms,
        start_mb=start.start_mb,
        peak_mb=measured.peak_mb,
        throughput=measured.throughput,
        ratio_to_baseline=ratio,
        ratio_low=low,
        ratio_high=high,
        cpu_ratio_to_baseline=cpu_ratio,
        other_cpu=busy,
        loaded=host.is_loaded(busy),
        load_average=measured.load_average,
        detail=start.detail,
        placement=start.placement,
        complete=measured.complete,
        note=measured.note,
    )


def failed_row(spec: Spec, reason: str, facts: Facts, *, not_here: bool = False) -> LatencyRow:
    """The row of a subject that could not be timed."""
    return LatencyRow(**_common(spec, facts), how="not run here" if not_here else "failed", note=reason)


def rounds_of(measured: Measured) -> tuple[list[float], list[float]]:
    """Median of each round, by the wall clock and of the processors."""
    return [median(timing.wall_ms) for timing in measured.rounds], [median(timing.cpu_ms) for timing in measured.rounds]


def _other_cpu(measured: Sequence[Measured]) -> float | None:
    """Processors that others kept busy during all calls of these subjects."""
    timings = [timing for one in measured for timing in one.rounds]
    return host.other_cpu(
        busy=sum(timing.busy_seconds for timing in timings),
        own=sum(timing.own_seconds for timing in timings),
        seconds=sum(timing.seconds for timing in timings),
    )


def _ratios(
    measured: Measured, facts: Facts, others: Sequence[Measured]
) -> tuple[float | None, float | None, float | None, float | None]:
    """Ratio to the baseline in the same runtime with its interval, and that of the processor time."""
    spec = measured.spec
    for other in others:
        theirs = other.spec
        if theirs.model == facts.baseline and (theirs.runtime, theirs.part, theirs.threads) == (
            spec.runtime,
            spec.part,
            spec.threads,
        ):
            if other is measured:
                return 1.0, None, None, 1.0
            (mine_ms, mine_cpu), (their_ms, their_cpu) = rounds_of(measured), rounds_of(other)
            return (*paired_ratio(mine_ms, their_ms), paired_ratio(mine_cpu, their_cpu)[0])
    return None, None, None, None


def _common(spec: Spec, facts: Facts) -> dict[str, Any]:
    return {
        "model": spec.model,
        "arch": spec.facts.arch,
        "trained": spec.trained,
        "runtime": spec.runtime,
        "part": spec.part,
        "threads": spec.threads,
        "image_size": spec.image_size or None,
        "device": device_name(facts.host),
        "versions": facts.versions,
        "host": facts.host,
        "baseline": facts.baseline,
    }


def device_name(facts: dict[str, str | int | float]) -> str:
    """What a table calls a machine."""
    return str(facts.get("processor") or f"{facts.get('system', '')} {facts.get('machine', '')}".strip())
