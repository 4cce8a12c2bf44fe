"""Running an evaluation: models on data in one pass, with results added to those of earlier calls."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from distill.jobs.eval_inputs import Plan, checked_state
from distill.jobs.eval_models import open_models
from distill.jobs.progress import every_few_seconds
from distill.launching.world import read_world
from encoders.errors import InputWarning
from eval_zeroshot import Result, evaluate, observe_share, write_results
from eval_zeroshot.results.observations import opened_alone
from eval_zeroshot.results.result import others


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Lock `out` against other calls. Processes that belong to one call share it and leave notes to that call.

    Raises:
        InputError: another call does, or `out` cannot be written.
    """
    if read_world().world_size > 1:
        warnings.simplefilter("ignore", InputWarning)
        yield
        return
    state = checked_state(out)
    state.mkdir(parents=True, exist_ok=True)
    with opened_alone(state / "lock"):
        yield


def run_eval(
    models: Mapping[str, str],
    planned: Plan,
    *,
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

    Returns:
        The results; None for one of several processes, which only sees its share of the photos.
    """
    referenced = planned.referenced
    # The reference of an agreement need not be among the models; where it is, it gets a row like any other
    own_reference = reference if referenced is None or reference in models else None
    opened = open_models(
        models,
        arch=arch,
        image_size=image_size,
        padding=padding,
        reference=own_reference,
        against=against,
        untrained_archs=untrained_archs,
        baselines=baselines,
    )
    world = read_world()
    try:
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
                progress=photo_progress(),
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
            progress=photo_progress(),
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


def photo_progress() -> Callable[[int, int | None], None]:
    """Return a callback that prints the number of finished photos to stderr every few seconds and at the end."""
    say, world = every_few_seconds(), read_world()
    who = f"process {world.rank} of {world.world_size}: " if world.world_size > 1 else ""

    def show(done: int, total: int | None) -> None:
        say(f"{who}photo {done}/{total}", last=done == total)

    return show
