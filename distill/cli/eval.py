"""The command that evaluates models: eval."""

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.eval_group import MODELS, eval_app
from distill.cli.options import EngineOption, RayOption, RetryOption, StallOption, WorkersOption
from distill.engines.base import MAX_SHARD_RETRY, engine_options
from distill.engines.stall import STALL_MINUTES
from distill.jobs.eval_models import named_models
from distill.jobs.evaluate import alone, run_eval
from eval_zeroshot import compare as compare_results
from shards.cache.kept import NO_ROOM, kept

MODEL_HELP = (
    "Run folder, weights file, model name, FAMILY:WEIGHTS of another project (edge_sam, ...), or MODULE:CALLABLE of your own "
    "(docs/adding_a_model.md). NAME=MODEL gives it a name in the results. Repeatable."
)
SUITE_HELP = (
    "Suite to run, such as box, point, edges or everything; agreement compares with --reference on photos without "
    "annotations. `repvit-sam suites` lists all. Repeatable."
)
DATA_HELP = (
    "A COCO-format or video json, a folder of BSDS500, DUTS, MVTec AD, DAVIS or SegInW, or sample:train / sample:val. For "
    "agreement, any folder of photos, a cache, or the output folder of `repvit-sam masks`."
)
IMAGES_HELP = (
    "Folder of the photos (default: images/ beside the json). For agreement on the output of `masks`, the photos that it was "
    "made from."
)
REFERENCE_HELP = (
    "Name of the model to measure agreement with, e.g. the teacher. For the suite agreement also a model as in --model "
    "(default: the cache's teacher)."
)


def eval_(
    model: Annotated[list[str], typer.Option("--model", "-m", help=MODEL_HELP)],
    suite: Annotated[list[str], typer.Option("--suite", "-s", help=SUITE_HELP)],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    boxes: Annotated[
        Path | None, typer.Option(help="Detector results for instance_ suites (for seginw, a folder of them).")
    ] = None,
    images: Annotated[Path | None, typer.Option(help=IMAGES_HELP)] = None,
    split: Annotated[str | None, typer.Option(help="Split of BSDS500, DUTS or DAVIS (default: the usual one).")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of foreign checkpoint files.")] = None,
    reference: Annotated[str | None, typer.Option(help=REFERENCE_HELP)] = None,
    against: Annotated[
        str | None, typer.Option(help="Name of the model to compare the others with, by paired differences.")
    ] = None,
    untrained_: Annotated[
        list[str] | None,
        typer.Option("--untrained", help="Architecture to run with random weights and the reference's decoder. Repeatable."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Add two baselines without a model: the filled box and a disc around the click.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Use only the first photos (or frames).")] = None,
    present_only: Annotated[
        bool, typer.Option("--present-only", help="Skip missing photos; the results state how many were used.")
    ] = False,
    clicks: Annotated[
        list[int] | None,
        typer.Option(
            help="Number of clicks that suite point reports beside the first (default: 2, 3, 5, 9); 1 for the first alone, "
            "which is quick. Other numbers are another protocol. Repeatable."
        ),
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Input size in pixels, where a model allows another.")] = None,
    no_padding: Annotated[
        bool, typer.Option("--no-padding", help="Encode photos without padding, in their own aspect ratio (RepViT only).")
    ] = False,
    engine: EngineOption = None,
    num_processes: WorkersOption = None,
    max_shard_retry: RetryOption = MAX_SHARD_RETRY,
    stall_minutes: StallOption = STALL_MINUTES,
    ray_address: RayOption = None,
    out: Annotated[Path, typer.Option(help="JSON-lines file to append results to.")] = Path("results.jsonl"),
    json_: Annotated[bool, typer.Option("--json", help="Print results as JSON lines.")] = False,
) -> None:
    """Evaluate models on zero-shot suites and append the results to a file. Resumes if interrupted.

    Several processes share the photos, see --engine. Ranks of a launcher only look at their share; afterwards the same command
    without the launcher sums up.

    Example: repvit-sam eval -m ours=runs/my_run -m teacher=sam_demo --reference teacher -s box -s point --data sample:val

    Photos without annotations: repvit-sam eval -m ours=runs/my_run --reference sam_demo -s agreement --data my_photos

    Models of other projects, with paired differences: repvit-sam eval -m ours=runs/my_run -m edge=edge_sam:edge_sam.pth
    --against edge -s box_edgesam --data instances_val2017.json --images val2017
    """
    models = named_models(model)
    options = engine_options(
        engine,
        processes=num_processes,
        max_shard_retry=max_shard_retry,
        ray_address=ray_address,
        stall_minutes=stall_minutes,
    )
    inputs = {
        "suites": suite,
        "data": data,
        "out": out,
        "boxes": boxes,
        "images": images,
        "split": split,
        "limit": limit,
        "present_only": present_only,
        "clicks": clicks or None,
        "reference": reference,
        "arch": arch,
        "image_size": image_size,
    }
    with kept(out, what="what was seen so far stays", causes=NO_ROOM), alone(out, world=options.world):
        results = run_eval(
            models,
            inputs,
            options=options,
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


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    eval_app.command(MODELS)(eval_)
