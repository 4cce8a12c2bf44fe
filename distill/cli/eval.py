"""The command that measures: eval."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.eval_group import MODELS, eval_app
from distill.cli.options import ProcessesOption, every_few_seconds, given_options
from distill.jobs.eval_inputs import Plan, checked_state, plan
from distill.jobs.eval_models import named_models, open_models
from distill.launching.place import this_place
from encoders.errors import InputWarning
from eval_zeroshot import Result, evaluate, observe_share, write_results
from eval_zeroshot import compare as compare_results
from eval_zeroshot.results.observations import opened_alone
from eval_zeroshot.results.result import others
from shards.cache.kept import NO_ROOM, kept

MODEL_HELP = (
    "Run folder, weights, name, FAMILY:WEIGHTS of another project (edge_sam, ...), or MODULE:CALLABLE of your own "
    "(docs/adding_a_model.md); NAME=MODEL names it. Repeatable."
)
SUITE_HELP = (
    "Suite name: box, point, edges, everything, ...; agreement measures agreement with --reference on photos without "
    "annotations. Repeatable."
)
DATA_HELP = (
    "COCO-format or video json, folder of BSDS500, DUTS, MVTec AD, DAVIS or SegInW, or sample:train / sample:val; for "
    "agreement any folder of photos, a cache, or what `repvit-sam masks` has written."
)
IMAGES_HELP = "Folder of the photos; images/ beside the json. For agreement on masks, the photos that they were made of."
REFERENCE_HELP = (
    "Name of the model to agree with, e.g. the teacher; for agreement a model as well, by default the teacher of the cache."
)


def eval_(
    context: typer.Context,
    model: Annotated[list[str], typer.Option("--model", "-m", help=MODEL_HELP)],
    suite: Annotated[list[str], typer.Option("--suite", "-s", help=SUITE_HELP)],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    boxes: Annotated[Path | None, typer.Option(help="A detector's results, for instance_ suites; for seginw a folder.")] = None,
    images: Annotated[Path | None, typer.Option(help=IMAGES_HELP)] = None,
    split: Annotated[str | None, typer.Option(help="Of BSDS500, DUTS or DAVIS; the usual one.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of foreign checkpoint files.")] = None,
    reference: Annotated[str | None, typer.Option(help=REFERENCE_HELP)] = None,
    against: Annotated[str | None, typer.Option(help="Name of the model that differences are taken against.")] = None,
    untrained_: Annotated[
        list[str] | None,
        typer.Option("--untrained", help="Architecture to run untrained, with the reference's decoder. Repeatable."),
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Add fill-the-box and the disc.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only the first photos, or frames.")] = None,
    present_only: Annotated[
        bool, typer.Option("--present-only", help="Use only the photos that are there; results say how many of how many.")
    ] = False,
    image_size: Annotated[int | None, typer.Option(help="Another input size, where a model allows it.")] = None,
    no_padding: Annotated[
        bool, typer.Option("--no-padding", help="Our models encode photos in their own aspect; RepViT only.")
    ] = False,
    num_processes: ProcessesOption = 1,
    out: Annotated[Path, typer.Option(help="Results, JSON lines, added to those there.")] = Path("results.jsonl"),
    json_: Annotated[bool, typer.Option("--json", help="Print results as JSON lines.")] = False,
) -> None:
    """Zero-shot suites of models on data; run it again to continue.

    Several processes share the photos: --num-processes, or any launcher that sets RANK and WORLD_SIZE, after which the same
    command without it sums up.

    Example: repvit-sam eval -m ours=runs/my_run -m teacher=sam_demo --reference teacher -s box -s point --data sample:val

    Photos without annotations: repvit-sam eval -m ours=runs/my_run --reference sam_demo -s agreement --data my_photos

    Other projects' models, with differences: repvit-sam eval -m ours=runs/my_run -m edge=edge_sam:edge_sam.pth --against edge
    -s box_edgesam --data instances_val2017.json --images val2017
    """
    models = named_models(model)
    with kept(out, what="what was seen so far stays", causes=NO_ROOM), alone(out):
        planned = plan(
            suite,
            data=data,
            out=out,
            boxes=boxes,
            images=images,
            split=split,
            limit=limit,
            present_only=present_only,
            reference=reference,
            models=models,
            arch=arch,
            image_size=image_size,
        )
        if num_processes != 1:
            from distill.launching.launch import launch_apart

            again = ["eval", MODELS, *given_options(context, but="num_processes")]
            if code := launch_apart(again, num_processes=num_processes):
                raise typer.Exit(code)
        results = run_eval(
            models,
            planned,
            arch=arch,
            reference=reference,
            against=against,
            untrained_archs=untrained_ or [],
            baselines=baselines,
            image_size=image_size,
            padding=not no_padding,
        )
    if results is None:
        return
    if json_:
        print("\n".join(result.to_line().strip() for result in results))
    else:
        compare_results(results, published=False).terminal()


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """No other call writes to `out` meanwhile; one of several processes belongs to a call and leaves the notes to it.

    Raises:
        InputError: another call does, or `out` cannot be written.
    """
    if this_place().world_size > 1:
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
    told = reference if referenced is None or reference in models else None
    opened = open_models(
        models,
        arch=arch,
        image_size=image_size,
        padding=padding,
        reference=told,
        against=against,
        untrained_archs=untrained_archs,
        baselines=baselines,
    )
    place = this_place()
    try:
        if place.world_size > 1:
            observe_share(
                opened.predictors,
                suites=planned.suites,
                samples=planned.dataset,
                rank=place.rank,
                world_size=place.world_size,
                state=planned.state,
                facts=opened.facts,
                reference=told,
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
    """Which suites measured nothing and why, each once, with the models where it is not all of them."""
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
    """A callback that prints how many photos are done, every few seconds and at the end, to stderr."""
    say, place = every_few_seconds(), this_place()
    who = f"process {place.rank} of {place.world_size}: " if place.world_size > 1 else ""

    def show(done: int, total: int | None) -> None:
        say(f"{who}photo {done}/{total}", last=done == total)

    return show


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    eval_app.command(MODELS)(eval_)
