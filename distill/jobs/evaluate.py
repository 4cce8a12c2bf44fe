"""Running an evaluation: models on data in one pass, with results added to those of earlier calls."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill.engines.base import HERE, EngineOptions, run
from distill.jobs.eval_inputs import checked_state, part_of, plan
from distill.jobs.eval_models import open_models
from distill.jobs.eval_work import EvalLead, EvalWork
from distill.jobs.progress import every_few_seconds
from distill.launching.world import World, read_world
from encoders.errors import InputWarning
from eval_zeroshot import Result, evaluate, observe_share, write_results
from eval_zeroshot.results.observations import opened_alone
from eval_zeroshot.results.result import others


@contextmanager
def alone(out: Path, *, world: World | None = None) -> Iterator[None]:
    """Lock `out` against other calls. Ranks of a launcher share it and leave notes to the call that sums up.

    Args:
        world: this process; None reads the launcher's variables.

    Raises:
        InputError: another call does, or `out` cannot be written.
    """
    if (world or read_world()).world_size > 1:
        warnings.simplefilter("ignore", InputWarning)
        yield
        return
    state = checked_state(out)
    state.mkdir(parents=True, exist_ok=True)
    with opened_alone(state / "lock"):
        yield


def run_eval(
    models: Mapping[str, str],
    inputs: Mapping[str, Any],
    *,
    options: EngineOptions = HERE,
    arch: str | None = None,
    reference: str | None = None,
    against: str | None = None,
    untrained_archs: Sequence[str] = (),
    baselines: bool = False,
    image_size: int | None = None,
    padding: bool = True,
) -> list[Result] | None:
    """Evaluate named models in one pass and write their results; what was seen is kept in OUT.state.

    Results of other models, suites or data that the file holds from earlier calls stay there.

    Args:
        models: name -> model, see `open_models`.
        inputs: arguments of `plan`, other than `models`.
        options: the engine. A rank of a launcher only sees its share; the same call by one process sums up.

    Returns:
        The results; None for a rank.
    """
    world = options.world
    planned = plan(**inputs, models=models, part=part_of(world))
    referenced = planned.referenced
    # The reference of an agreement need not be among the models; where it is, it gets a row like any other
    own_reference = reference if referenced is None or reference in models else None
    opening: dict[str, Any] = {
        "arch": arch,
        "image_size": image_size,
        "padding": padding,
        "reference": own_reference,
        "against": against,
        "untrained_archs": untrained_archs,
        "baselines": baselines,
    }
    try:
        if not options.alone:
            run(
                EvalWork(models=dict(models), inputs=dict(inputs), opening=opening),
                EvalLead(photo_progress(world)),
                options=options,
            )
            if world.world_size > 1:
                return None
        opened = open_models(models, **opening)
        if world.world_size > 1:
            observe_share(
                opened.predictors,
                suites=planned.suites,
                samples=planned.dataset,
                rank=world.rank,
                world_size=world.world_size,
                state=planned.state,
                facts=opened.facts,
                reference=own_reference,
                progress=photo_progress(world),
            )
            return None
        results = evaluate(
            opened.predictors,
            suites=planned.suites,
            samples=planned.dataset,
            reference=reference if referenced is None else None,
            against=against,
            facts=opened.facts,
            state=planned.state,
            progress=photo_progress(world),
        )
    finally:
        if referenced is not None:
            referenced.close()
    kept = others(planned.earlier, than=results)
    write_results(planned.out, [*kept, *results])
    for note in nothing_measured(results):
        print(f"note: {note}", file=sys.stderr)
    if kept:
        print(f"{planned.out} holds {len(kept)} results of other calls too", file=sys.stderr)
    return results


def nothing_measured(results: Sequence[Result]) -> list[str]:
    """Describe the suites that measured nothing and the reasons, naming the models if not all are affected."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        if result.value is None:
            reasons = ", ".join(f"{count} {reason}" for reason, count in result.skipped.items() if count) or "no objects"
            found.setdefault((result.suite, result.dataset, reasons), []).append(result.model)
    every = len({result.model for result in results})
    return [
        f"{suite} on {dataset}{'' if len(models) == every else ' for ' + ', '.join(models)}: nothing to measure; {reasons}"
        for (suite, dataset, reasons), models in found.items()
    ]


def photo_progress(world: World) -> Callable[[int, int | None], None]:
    """Return a callback that prints the number of finished photos to stderr every few seconds and at the end."""
    say = every_few_seconds()
    who = f"process {world.rank} of {world.world_size}: " if world.world_size > 1 else ""

    def show(done: int, total: int | None) -> None:
        say(f"{who}photo {done}/{total}", last=done == total)

    return show
