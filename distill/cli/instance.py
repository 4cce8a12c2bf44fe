"""`repvit-sam eval instance`: average precision of other programs' results."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli.eval_group import eval_app
from distill.cli.options import JsonOption
from distill.jobs.sample_data import resolve_data
from eval_zeroshot.ap.annotations import read_annotations, uncounted
from eval_zeroshot.ap.backends import average_precision
from eval_zeroshot.ap.detections import checked_for, iou_type_of, read_detections, unknown_categories
from eval_zeroshot.datasets.opening import find_annotations


def instance(
    results: Annotated[Path, typer.Option(help="Results in COCO's format: masks as RLE, or boxes.")],
    data: Annotated[str, typer.Option(help="COCO or LVIS annotations (recognised by content).")],
    type_: Annotated[str, typer.Option("--type", help="segm, bbox, or auto: segm if the results contain masks.")] = "auto",
    backend: Annotated[
        str, typer.Option(help="fast, or reference (pycocotools or lvis), which gives the same numbers.")
    ] = "fast",
    json_: JsonOption = False,
) -> None:
    """Compute average precision and recall of a COCO-format results file, as fractions.

    Example: repvit-sam eval instance --results masks.json --data instances_val2017.json --json
    """
    scores = score_results(results, data=data, type_=type_, backend=backend)
    if unknown := scores["unknown_categories"]:
        print(f"note: {unknown} detections of categories that {data} does not list do not count", file=sys.stderr)
    for reason, count in scores["uncounted_annotations"].items():
        if reason != "crowd" or scores["AP"] is None:
            print(f"note: {count} annotations of {data} do not count: {reason}", file=sys.stderr)
    if scores["AP"] is None:
        print(f"note: {data} has no object that counts, so there is nothing to measure", file=sys.stderr)
    if json_:
        print(json.dumps(scores))
        return
    for name, value in scores.items():
        if name != "uncounted_annotations":
            print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")


def score_results(results: Path, *, data: str, type_: str = "auto", backend: str = "fast") -> dict[str, Any]:
    """Return all metrics of a result file and their description as JSON types. A metric without objects is None."""
    truth, detections = read_annotations(find_annotations(resolve_data(data))), read_detections(results)
    iou_type = iou_type_of(detections.records, wanted=type_)
    checked = checked_for(truth, detections, iou_type=iou_type)
    return average_precision(truth, checked, iou_type=iou_type, backend=backend) | {
        "data": truth.kind,
        "type": iou_type,
        "backend": backend,
        "images": len(truth.images),
        "detections": len(checked),
        "unknown_categories": unknown_categories(truth, checked),
        "uncounted_annotations": uncounted(truth),
        "results": detections.name,
        "results_sha256": detections.sha256,
    }


def register(app: typer.Typer) -> None:
    """Add this file's command to `eval`."""
    eval_app.command("instance")(instance)
