"""The command that measures: eval."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

import encoders
from distill.eval_group import MODELS, eval_app
from distill.options import every_few_seconds
from distill.place import this_place
from distill.sample_data import resolve_data
from encoders.errors import InputError
from eval_zeroshot import (
    FillBox,
    ModelFacts,
    Result,
    evaluate,
    open_dataset,
    untrained,
    write_results,
)
from eval_zeroshot import (
    compare as compare_results,
)
from eval_zeroshot.choose import choose_suites
from eval_zeroshot.protocol import PredictorLike

DATA_HELP = "COCO-format json, a folder with instances.json, BSDS500's folder, or sample:train / sample:val."


def eval_(
    model: Annotated[list[str], typer.Option("--model", "-m", help="Run folder, weights, or name; NAME=MODEL. Repeatable.")],
    suite: Annotated[list[str], typer.Option("--suite", "-s", help="Suite name. Repeatable.")],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    boxes: Annotated[Path | None, typer.Option(help="A detector's results, for the instance_ suites.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the photos; images/ beside the json.")] = None,
    split: Annotated[str, typer.Option(help="Of BSDS500: train, val or test.")] = "test",
    arch: Annotated[str | None, typer.Option(help="Architecture of foreign checkpoint files.")] = None,
    reference: Annotated[str | None, typer.Option(help="Name of the model to agree with, e.g. the teacher.")] = None,
    untrained_: Annotated[
        list[str] | None,
        typer.Option("--untrained", help="Architecture to run untrained, with the reference's decoder. Repeatable."),
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Add fill-the-box and the disc.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only the first photos.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Another input size, where a model allows it.")] = None,
    out: Annotated[Path, typer.Option(help="Results, JSON lines; what was seen is kept beside it.")] = Path("results.jsonl"),
    json_: Annotated[bool, typer.Option("--json", help="Print results as JSON lines.")] = False,
) -> None:
    """Zero-shot suites on COCO-format data, edges on BSDS500; run it again to continue.

    Example: repvit-sam eval -m ours=runs/my_run -m teacher=sam_demo --reference teacher -s box -s point --data sample:val
    """
    models = dict(name_and_model(text) for text in model)
    results = run_eval(
        models,
        suites=suite,
        data=data,
        boxes=boxes,
        images=images,
        split=split,
        arch=arch,
        reference=reference,
        untrained_archs=untrained_ or [],
        baselines=baselines,
        limit=limit,
        image_size=image_size,
        out=out,
    )
    if json_:
        print("\n".join(result.to_line().strip() for result in results))
    else:
        compare_results(results, published=False).terminal()


def run_eval(
    models: Mapping[str, str],
    *,
    suites: Sequence[str],
    data: str,
    out: Path,
    boxes: Path | None = None,
    images: Path | None = None,
    split: str = "test",
    arch: str | None = None,
    reference: str | None = None,
    untrained_archs: Sequence[str] = (),
    baselines: bool = False,
    limit: int | None = None,
    image_size: int | None = None,
) -> list[Result]:
    """Evaluate named models in one pass and write their results; what was seen is kept in OUT.state."""
    chosen = choose_suites(suites, data=resolve_data(data), boxes=boxes)
    dataset = open_dataset(resolve_data(data), images=images, split=split, limit=limit)
    predictors: dict[str, PredictorLike] = {}
    facts: dict[str, ModelFacts] = {}
    device = this_place().device
    for name, model in models.items():
        sam = encoders.load(model, arch=arch, image_size=image_size).to(device)
        predictors[name] = encoders.Predictor(sam)
        facts[name] = ModelFacts(
            role="teacher" if name == reference else "student", arch=sam.arch, sha256=encoders.weights_sha256(model)
        )
    if reference is not None and reference not in predictors:
        raise InputError(f"--reference {reference!r} is not among the models {', '.join(predictors)}")
    teacher = predictors.get(reference) if reference else None
    for name in untrained_archs:
        size = image_size or next(p.image_size for p in predictors.values() if isinstance(p, encoders.Predictor))
        decoder = teacher.sam if isinstance(teacher, encoders.Predictor) else None
        fresh = untrained(name, image_size=size, decoder_of=decoder)
        fresh.sam.to(device)
        predictors[f"untrained {name}"] = fresh
        facts[f"untrained {name}"] = ModelFacts(role="baseline", arch=name)
    if baselines:
        predictors["filled box or disc"] = FillBox()
    results = evaluate(
        predictors,
        suites=chosen,
        samples=dataset,
        reference=reference,
        facts=facts,
        state=out.with_suffix(".state"),
        progress=photo_progress(),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_results(out, results)
    return results


def photo_progress() -> Callable[[int, int | None], None]:
    """A callback that prints how many photos are done, every few seconds and at the end, to stderr."""
    say = every_few_seconds()

    def show(done: int, total: int | None) -> None:
        say(f"photo {done}/{total}", last=done == total)

    return show


def name_and_model(text: str) -> tuple[str, str]:
    """ "NAME=MODEL" -> both; a bare model is named by its last part."""
    name, separator, model = text.partition("=")
    return (name, model) if separator else (Path(text).name, text)


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    eval_app.command(MODELS)(eval_)
