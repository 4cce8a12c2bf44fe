"""`repvit-sam masks`: automatic masks of photos in SA-1B's format."""

import json
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.options import EngineOption, JsonOption, RayOption, RetryOption, StallOption, WorkersOption
from distill.engines.base import MAX_SHARD_RETRY, engine_options
from distill.engines.stall import STALL_MINUTES
from distill.jobs.masks import write_masks
from distill.jobs.progress import every_few_seconds
from distill.jobs.sample_data import resolve_data
from encoders.errors import InputError
from encoders.messages.words import counted
from eval_zeroshot.suites.everything import MaskSettings

DEFAULT = MaskSettings()
MODEL_HELP = "Run folder, weights, name, FAMILY:WEIGHTS of another project, or MODULE:CALLABLE of your own, as in eval."


def masks(
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)],
    photos: Annotated[str, typer.Option(help="A photo, a folder of photos, SA-1B tars, a COCO json, or sample:val.")],
    out: Annotated[Path, typer.Option(help="Folder for the JSON files, in SA-1B's format.")],
    points: Annotated[int, typer.Option(help="Points per side of the grid.")] = DEFAULT.points_per_side,
    budget: Annotated[
        int | None, typer.Option(help="Largest number of points to prompt, the most promising first (default: all).")
    ] = None,
    min_iou: Annotated[
        float, typer.Option(help="Predicted IoU that a mask must exceed. The default is SAM's; for sam_demo take 0.5.")
    ] = DEFAULT.pred_iou_thresh,
    min_stability: Annotated[
        float, typer.Option(help="Stability that a mask must have. The default is SAM's; for sam_demo take 0.6.")
    ] = DEFAULT.stability_score_thresh,
    nms: Annotated[
        float, typer.Option(help="Box IoU above which the lower-scoring of two masks is dropped.")
    ] = DEFAULT.box_nms_thresh,
    min_area: Annotated[
        int, typer.Option(help="Fill holes and remove pieces smaller than this many pixels.")
    ] = DEFAULT.min_mask_region_area,
    overlays: Annotated[Path | None, typer.Option(help="Folder for JPEGs of the photos with their masks drawn in.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of a foreign checkpoint file.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Input size in pixels, where the model allows another.")] = None,
    engine: EngineOption = None,
    num_processes: WorkersOption = None,
    max_shard_retry: RetryOption = MAX_SHARD_RETRY,
    stall_minutes: StallOption = STALL_MINUTES,
    ray_address: RayOption = None,
    json_: JsonOption = False,
) -> None:
    """Segment everything in photos with a grid of points and write one JSON file per photo. Resumes if interrupted.

    The masks are those of segment-anything's automatic mask generation with the same settings and no crops. Several
    processes share the photos, see --engine. A photo that cannot be read is named and skipped, and the exit code is then 1.
    After a change of settings, photos without masks are processed again; photos with masks need another --out.

    Example: repvit-sam masks --model sam_demo --photos sample:val --out my_masks --points 16 --min-iou 0.5 --min-stability 0.6
    --overlays my_overlays
    """
    settings = MaskSettings(
        points_per_side=points,
        pred_iou_thresh=min_iou,
        stability_score_thresh=min_stability,
        box_nms_thresh=nms,
        min_mask_region_area=min_area,
    )
    if budget is not None and budget < 1:
        raise InputError(f"--budget {budget} finds nothing; give 1 point or more, or leave it out for the whole grid")
    found = write_masks(
        model,
        photos=resolve_data(photos),
        out=out,
        settings=settings,
        budget=budget,
        arch=arch,
        image_size=image_size,
        overlays=overlays,
        say=every_few_seconds(),
        options=engine_options(
            engine,
            processes=num_processes,
            max_shard_retry=max_shard_retry,
            ray_address=ray_address,
            stall_minutes=stall_minutes,
        ),
    )
    if json_:
        print(json.dumps(found))
    else:
        kept = f", {counted(found['kept'], 'photo')} there already" if found["kept"] else ""
        without = f"; no mask in {counted(found['without'], 'photo')}" if found["without"] else ""
        failed = f"; {counted(len(found['failed']), 'photo')} left out" if found["failed"] else ""
        written = f"{counted(found['written'], 'photo')} with {counted(found['masks'], 'mask')} written to {out}"
        print(f"{written}{kept}{without}{failed}")
    if found["failed"]:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(masks)
