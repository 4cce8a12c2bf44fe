"""The run: subjects started one by one, called in turn in rounds, each round in the other direction, and summed up."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from encoders.errors import InputError, MissingExtra
from eval_zeroshot.latency import host
from eval_zeroshot.latency.artefacts import Artefact, Workshop
from eval_zeroshot.latency.blocks import Block, Finished, Measured, Pace
from eval_zeroshot.latency.process import ProcessSubject, Subject
from eval_zeroshot.latency.rows import LatencyRow, Part
from eval_zeroshot.latency.subjects import TORCH_RUNTIMES, ModelFacts, Spec, check_baseline, parts_of, runtimes_of
from eval_zeroshot.latency.summing import Facts, failed_row, shared_facts, sum_up

MB_OF_A_PROCESS = 1500  # that a subject is taken to need, when it is decided how many are held at once
SHARE_OF_MEMORY = 0.8
ELSEWHERE = "Core ML runs on macOS only; run the same command there, and put both files into one table"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """How to time.

    Attributes:
        runtimes, parts, threads: each combination is a row, where it makes sense.
        pace: rounds and their limits.
        image_size: None takes each model's own, 1024 for random weights.
        batches: throughput is measured for these; seconds: each for so long.
        baseline: a model's name that ratios are taken to.
        at_once: subjects held at once, whole runtimes of them; None as memory allows.
        device: of torch, "cpu" or "cuda".
        prompts, grid, photo: of decoder calls and of everything mode, see `Spec`.
        allow_loaded: measure although other programs are busy.
        arch: of foreign checkpoints.

    Raises:
        InputError: a number that cannot be meant.
    """

    runtimes: Sequence[str] = ("torch", "torch_fused")
    parts: Sequence[Part] = ("encoder",)
    threads: Sequence[int] = (1,)
    pace: Pace = Pace()
    image_size: int | None = None
    batches: Sequence[int] = ()
    seconds: float = 2.0
    baseline: str | None = None
    at_once: int | None = None
    device: str = "cpu"
    prompts: int = 1
    grid: int = 8
    photo: Path | None = None
    allow_loaded: bool = False
    arch: str | None = None

    def __post_init__(self) -> None:
        for name, values in (("threads", self.threads), ("batch", self.batches)):
            if any(value < 1 for value in values):
                raise InputError(f"--{name} {min(values)}: expected 1 or more")
        if not self.threads or not self.parts or not self.runtimes:
            raise InputError("nothing to time; give at least one runtime, one part and one number of threads")
        for name in ("prompts", "grid", "at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
        if self.device not in ("cpu", "cuda"):
            raise InputError(f"--device {self.device!r}: expected cpu or cuda")
        others = [name for name in self.runtimes if name not in TORCH_RUNTIMES]
        if self.device == "cuda" and others:
            raise InputError(f"--device cuda is for PyTorch's runtimes; leave out --runtime {others[0]}, or the device")


def run_lab(
    models: Sequence[ModelFacts],
    settings: LabSettings,
    *,
    keep: Callable[[list[LatencyRow]], None],
    say: Say = lambda line: None,
    start: Callable[[Spec], Subject] = ProcessSubject,
) -> list[LatencyRow]:
    """Time everything; rows are handed to `keep` as soon as they are finished, also when the run is interrupted.

    Args:
        models: see `name_models`.
        keep: takes finished rows, e.g. to append them to a file.
        say: takes lines of progress.
        start: makes the process of a subject.

    Raises:
        InputError: the machine is busy and that is not allowed, a model cannot be loaded, or the baseline is not among them.
    """
    check_baseline(settings.baseline, models)
    busy = host.check_idle(allow_loaded=settings.allow_loaded)
    if host.is_loaded(busy):
        say(f"note: other programs keep {busy:.2f} processors busy; rows measured meanwhile are marked")
    made: list[LatencyRow] = []
    with tempfile.TemporaryDirectory(prefix="repvit-sam-latency-") as folder:
        facts = shared_facts(baseline=settings.baseline, busy_before=busy)
        specs, rows = _plan(models, settings, facts, folder=Path(folder), say=say)
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
    """One block: its rows are kept also where it is interrupted."""
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


def _plan(
    models: Sequence[ModelFacts], settings: LabSettings, facts: Facts, *, folder: Path, say: Say
) -> tuple[list[Spec], list[LatencyRow]]:
    """What to open, runtime by runtime, and rows of what cannot be converted."""
    encoder_only = list(settings.parts) == ["encoder"]
    specs: dict[str, list[Spec]] = {}
    rows: list[LatencyRow] = []
    for number, model in enumerate(models):
        shop = Workshop(
            model,
            folder / str(number),
            image_size=settings.image_size,
            arch=settings.arch,
            encoder_only=encoder_only,
        )
        for runtime in runtimes_of(model, settings.runtimes):
            artefact, reason = None, ELSEWHERE if runtime == "coreml" and sys.platform != "darwin" else None
            if reason is None:
                say(f"preparing {model.name} for {runtime}")
                artefact, reason = _make(shop, runtime)
            if reason is not None:
                say(f"{model.name} {runtime}: {reason}")
            for spec in _specs(model, runtime, artefact, settings, folder=folder):
                if reason is not None:
                    rows.append(failed_row(spec, reason, facts, not_here=reason == ELSEWHERE))
                else:
                    specs.setdefault(runtime, []).append(spec)
        shop.forget()
    return [spec for runtime in settings_order(specs, settings) for spec in specs[runtime]], rows


def _make(shop: Workshop, runtime: str) -> tuple[Artefact | None, str | None]:
    """The files of a runtime, or why there are none.

    Raises:
        InputError: the model cannot be loaded, or was exported for another size; MissingExtra: a package is not installed.
    """
    if shop.model.exported is not None:
        return shop.make(runtime), None
    shop.sam()
    try:
        return shop.make(runtime), None
    except MissingExtra:
        raise
    except Exception as error:  # of any converter; the other runtimes go on
        return None, f"cannot be converted: {type(error).__name__}: {(str(error).strip() or '?').splitlines()[0][:300]}"


def settings_order(found: dict[str, list[Spec]], settings: LabSettings) -> list[str]:
    """Runtimes as they were asked for, those of exported folders behind."""
    asked = [runtime for runtime in settings.runtimes if runtime in found]
    return asked + [runtime for runtime in found if runtime not in asked]


def _specs(
    model: ModelFacts, runtime: str, artefact: Artefact | None, settings: LabSettings, *, folder: Path
) -> Iterator[Spec]:
    known = replace(model, arch=artefact.arch if artefact else model.arch)
    for threads in dict.fromkeys(settings.threads):
        for part in parts_of(runtime, settings.parts):
            yield Spec(
                model=model.name,
                runtime=runtime,
                part=part,
                threads=threads,
                image_size=artefact.image_size if artefact else settings.image_size or 0,
                path=str(artefact.path) if artefact else "",
                precision=artefact.precision if artefact else "fp32",
                tool=model.tool,
                device=settings.device,
                prompts=settings.prompts,
                grid=settings.grid,
                photo=str(settings.photo) if settings.photo else None,
                cache=str(folder / "compiled"),
                trained=artefact.trained if artefact else None,
                facts=known,
            )


def blocks(specs: Sequence[Spec], *, at_once: int) -> Iterator[list[Spec]]:
    """Subjects that are held, and called in turn, together: of one part and number of threads, as many whole runtimes as fit.

    A runtime is never split, so that each model meets the baseline in every round.
    """
    groups: dict[tuple[str, int], dict[str, list[Spec]]] = {}
    for spec in specs:
        groups.setdefault((spec.part, spec.threads), {}).setdefault(spec.runtime, []).append(spec)
    for by_runtime in groups.values():
        block: list[Spec] = []
        for members in by_runtime.values():
            if block and len(block) + len(members) > at_once:
                yield block
                block = []
            block = block + members
        yield block


def _fitting() -> int:
    """How many subjects memory has room for."""
    return max(1, int(host.available_mb() * SHARE_OF_MEMORY / MB_OF_A_PROCESS))
