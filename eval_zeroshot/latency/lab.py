"""The run: starts subjects one by one, calls them in turn in rounds of alternating direction, and makes rows of the times."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from eval_zeroshot.latency import host
from eval_zeroshot.latency.needs import check_device, check_photo
from eval_zeroshot.latency.planning import Say, blocks, plan
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.latency.settings import LabSettings
from eval_zeroshot.latency.subjects.subject import ModelFacts, Spec, check_baseline, check_subjects
from eval_zeroshot.latency.summing import Facts, failed_row, shared_facts, sum_up
from eval_zeroshot.latency.timing.blocks import Block, Finished, Measured
from eval_zeroshot.latency.timing.process import ProcessSubject, Subject

MB_OF_A_PROCESS = 1500  # assumed need of a subject, to decide how many are kept loaded
SHARE_OF_MEMORY = 0.8


def run_lab(
    models: Sequence[ModelFacts],
    settings: LabSettings,
    *,
    keep: Callable[[list[LatencyRow]], None],
    say: Say = lambda line: None,
    start: Callable[[Spec], Subject] = ProcessSubject,
) -> list[LatencyRow]:
    """Time everything. Finished rows are passed to `keep` block by block, also when the run is interrupted.

    Args:
        models: see `name_models`.
        keep: receives finished rows, e.g. to append them to a file.
        say: receives lines of progress.
        start: makes the process of a subject.

    Raises:
        InputError: the machine is busy and that is not allowed, there is nothing to time, a model, the photo or the GPU
            cannot be used, or the baseline is not among the models.
    """
    check_subjects(models, settings.runtimes, settings.parts)
    check_baseline(settings.baseline, models)
    check_device(models, settings.device)
    check_photo(settings)
    busy = host.check_idle(allow_loaded=settings.allow_loaded)
    if host.is_loaded(busy):
        say(f"note: other programs keep {busy:.2f} processors busy; affected rows are marked")
    made: list[LatencyRow] = []
    with tempfile.TemporaryDirectory(prefix="repvit-sam-latency-") as folder:
        facts = shared_facts(baseline=settings.baseline, busy_before=busy)
        specs, rows = plan(models, settings, facts, folder=Path(folder), say=say)
        if rows:
            keep(rows)
            made += rows
        for block in blocks(specs, at_once=settings.at_once or _fitting()):
            rows = _time(block, settings, facts, start=start, keep=keep, say=say)
            made += rows
    return made


def _time(
    specs: Sequence[Spec],
    settings: LabSettings,
    facts: Facts,
    *,
    start: Callable[[Spec], Subject],
    keep: Callable[[list[LatencyRow]], None],
    say: Say,
) -> list[LatencyRow]:
    """Time one block. Its rows are kept even if it is interrupted."""
    block = Block(specs, pace=settings.pace, start=start, say=say)
    rows: list[LatencyRow] = []
    try:
        block.run()
        block.measure_throughput(settings.batches, seconds=settings.seconds)
    finally:
        try:
            rows = _rows(block.finish(), facts)
            if rows:
                keep(rows)
        finally:
            block.close()
    return rows


def _rows(finished: Sequence[Finished], facts: Facts) -> list[LatencyRow]:
    measured = [one for one in finished if isinstance(one, Measured)]
    return [
        sum_up(one, facts, others=measured)
        if isinstance(one, Measured)
        else failed_row(one.spec, one.reason, facts, not_here=one.not_here)
        for one in finished
    ]


def _fitting() -> int:
    """Number of subjects that fit in memory."""
    return max(1, int(host.available_mb() * SHARE_OF_MEMORY / MB_OF_A_PROCESS))
