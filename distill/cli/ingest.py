"""`repvit-sam ingest`: inspect a source of photos before running a teacher on it."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.options import JsonOption
from distill.jobs.photos import INDEX_FOLDER
from distill.jobs.progress import every_few_seconds
from distill.jobs.sample_data import resolve_data
from encoders.files import check_output_folder
from encoders.local_folder import check_local_folder
from shards import Listing, open_source
from shards import ingest as run_ingest
from shards.cache.kept import kept
from shards.pipeline.ingest import PLAN_FILE
from shards.pipeline.quarantine import QUARANTINE_FILE
from shards.stores.retry import is_url


def ingest(
    source: Annotated[
        str,
        typer.Argument(help="SA-1B tars (file, folder, glob, or a .txt that lists them), a folder of photos, or a COCO json."),
    ],
    out: Annotated[
        str, typer.Option(help="Folder for the plan. Give the cache's folder, and precompute reuses the list of photos.")
    ],
    images: Annotated[Path | None, typer.Option(help="Folder of a COCO json's photos.")] = None,
    subset: Annotated[str | None, typer.Option(help="Use a share of the photos, chosen by their keys, e.g. 1%@seed=0.")] = None,
    names: Annotated[
        Path | None, typer.Option(help="Use only the photos listed in this text file, by key or file name, one per line.")
    ] = None,
    masks: Annotated[bool, typer.Option(help="Read annotations; with --no-masks, damaged ones are ignored.")] = True,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every photo and check every mask.")] = False,
    processes: Annotated[int | None, typer.Option(help="Number of processes (default: one per CPU).")] = None,
    samples_per_shard: Annotated[int, typer.Option(help="Photos per shard of the later precompute.")] = 1000,
    max_bad_fraction: Annotated[float, typer.Option(help="Largest share of photos that may be unusable.")] = 0.01,
    json_: JsonOption = False,
) -> None:
    """Check the photos of a source without a teacher; writes plan.json and quarantine.jsonl. Resumes if interrupted.

    Example: repvit-sam ingest /data/sa1b --subset 1%@seed=0 --out /data/cache --decode
    """
    folder = check_local_folder(out, name="--out")
    processes = len(os.sched_getaffinity(0)) if processes is None else processes
    listed, decoded = every_few_seconds(), every_few_seconds()
    with kept(folder, what="what was listed and checked is kept"):
        check_output_folder(folder)
        photos = open_source(
            source if is_url(source) else str(resolve_data(source)),
            images=images,
            masks=masks,
            subset=subset,
            names=names,
            listing=Listing(
                folder=folder / INDEX_FOLDER,
                processes=processes,
                progress=lambda done, total: listed(f"tar {done}/{total} listed", last=done == total),
            ),
        )
    plan = run_ingest(
        photos,
        out=folder,
        decode=decode,
        processes=processes,
        samples_per_shard=samples_per_shard,
        max_bad_fraction=max_bad_fraction,
        progress=lambda done, total: decoded(f"photo {done}/{total} decoded", last=done == total),
    )
    facts = asdict(plan) | {"plan": str(folder / PLAN_FILE)}
    if plan.bad:
        facts["quarantine"] = str(folder / QUARANTINE_FILE)
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {_text(value)}" for key, value in facts.items()))


def _text(value: object) -> object:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else value


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(ingest)
