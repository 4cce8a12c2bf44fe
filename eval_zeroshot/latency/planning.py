"""Lists the subjects, makes their files, and groups those that are loaded together."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from encoders.errors import MissingExtra
from eval_zeroshot.latency.rows.row import LatencyRow
from eval_zeroshot.latency.settings import LabSettings
from eval_zeroshot.latency.subjects.artefacts import Artefact, Workshop
from eval_zeroshot.latency.subjects.subject import ModelFacts, Spec, parts_of, runtimes_of
from eval_zeroshot.latency.summing import Facts, failed_row

ELSEWHERE = "Core ML runs on macOS only; run the same command there, and give both files to latency table"

Say = Callable[[str], None]


def plan(
    models: Sequence[ModelFacts], settings: LabSettings, facts: Facts, *, folder: Path, say: Say
) -> tuple[list[Spec], list[LatencyRow]]:
    """The subjects to open, runtime by runtime, and rows for those that cannot be converted."""
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
    """The files of a runtime, or the reason why there are none.

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
    """The requested runtimes in the order given, then those of exported folders."""
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
                device=settings.device,
                prompts=settings.prompts,
                grid=settings.grid,
                photo=str(settings.photo) if settings.photo else None,
                cache=str(folder / "compiled"),
                trained=artefact.trained if artefact else None,
                facts=known,
            )


def blocks(specs: Sequence[Spec], *, at_once: int) -> Iterator[list[Spec]]:
    """Groups of subjects that are loaded together and called in turn: of one part and number of threads.

    A group takes as many whole runtimes as fit into `at_once`. A runtime is never split, even if it has more subjects than
    that, so that each model takes turns with the baseline in every round.
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
