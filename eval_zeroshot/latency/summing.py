"""Makes rows of what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from encoders.export.certification.host import host_facts, package_versions
from eval_zeroshot.latency import host
from eval_zeroshot.latency.figures import paired_ratio, percentiles
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.latency.subjects.subject import Spec
from eval_zeroshot.latency.timing.blocks import Measured
from eval_zeroshot.latency.timing.worker import Memory


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts that all rows of a run share; busy_before: processors that other programs kept busy before it began."""

    versions: dict[str, str]
    host: dict[str, str | int | float]
    baseline: str | None = None
    busy_before: float | None = None


def shared_facts(*, baseline: str | None, busy_before: float | None) -> Facts:
    """Versions of the packages involved, and a description of the machine without personal data."""
    return Facts(versions=package_versions(), host=host_facts(), baseline=baseline, busy_before=busy_before)


def sum_up(measured: Measured, facts: Facts, *, others: Sequence[Measured]) -> LatencyRow:
    """The row of one subject.

    Args:
        others: the subjects of the same block, its baseline among them.
    """
    spec, start = measured.spec, measured.start
    wall = [value for timing in measured.rounds for value in timing.wall_ms]
    cpu = [value for timing in measured.rounds for value in timing.cpu_ms]
    round_ms, round_cpu_ms = rounds_of(measured)
    p50, p90, p99 = percentiles(wall)
    busy = _other_cpu([measured])
    if busy is None:  # its own calls were too short to measure it
        busy = _other_cpu(others)
    if busy is None:
        busy = facts.busy_before
    memory, meanwhile = measured.memory or Memory(), _other_cpu_by_batch(measured, before=busy)
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
        peak_mb=memory.peak_mb,
        device_peak_mb=memory.device_peak_mb,
        throughput={batch: one.images_per_second for batch, one in measured.throughput.items()},
        throughput_other_cpu=meanwhile,
        throughput_loaded=any(host.is_loaded(value) for value in meanwhile.values()),
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
        note="; ".join(note for note in (start.note, measured.note) if note) or None,
    )


def failed_row(spec: Spec, reason: str, facts: Facts, *, not_here: bool = False) -> LatencyRow:
    """The row of a subject that could not be timed."""
    common = _common(spec, facts) | ({"device": "CUDA device"} if spec.device == "cuda" else {})
    return LatencyRow(**common, how="not run here" if not_here else "failed", note=reason, detail=dict(spec.asked))


def rounds_of(measured: Measured) -> tuple[list[float], list[float]]:
    """Median of each round: wall clock, and processor time."""
    return [median(timing.wall_ms) for timing in measured.rounds], [median(timing.cpu_ms) for timing in measured.rounds]


def _other_cpu(measured: Sequence[Measured]) -> float | None:
    """Processors that other programs kept busy during all timed calls of these subjects."""
    timings = [timing for one in measured for timing in one.rounds]
    return host.other_cpu(
        busy=sum(timing.busy_seconds for timing in timings),
        own=sum(timing.own_seconds for timing in timings),
        seconds=sum(timing.seconds for timing in timings),
    )


def _other_cpu_by_batch(measured: Measured, *, before: float | None) -> dict[int, float]:
    """Processors that other programs kept busy during the throughput of each batch size.

    Args:
        before: taken for those that were too short to measure it.
    """
    found = {
        batch: host.other_cpu(busy=one.busy_seconds, own=one.own_seconds, seconds=one.seconds)
        for batch, one in measured.throughput.items()
    }
    return {batch: value for batch, one in found.items() if (value := before if one is None else one) is not None}


def _ratios(
    measured: Measured, facts: Facts, others: Sequence[Measured]
) -> tuple[float | None, float | None, float | None, float | None]:
    """Ratio to the baseline in the same runtime with its interval, and the ratio of processor times."""
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
    """Name of a machine in tables."""
    return str(facts.get("processor") or f"{facts.get('system', '')} {facts.get('machine', '')}".strip())
