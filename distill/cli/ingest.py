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


def ingest(
    source: Annotated[str, typer.Argument(help="SA-1B tars (file, folder, glob, or a .txt of them), photos, COCO json.")],
    out: Annotated[str, typer.Option(help="Folder of the plan: the cache's own, so that precompute need not list anew.")],
    images: Annotated[Path | None, typer.Option(help="Folder of a COCO json's photos.")] = None,
    subset: Annotated[str | None, typer.Option(help="A share of the photos by their keys, e.g. 1%@seed=0.")] = None,
    names: Annotated[Path | None, typer.Option(help="A text file of keys or file names: only these photos.")] = None,
    masks: Annotated[bool, typer.Option(help="Whether annotations are wanted; without, broken ones do no harm.")] = True,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every photo and check every mask.")] = False,
    processes: Annotated[int | None, typer.Option(help="That list and decode; one a CPU by default.")] = None,
    samples_per_shard: Annotated[int, typer.Option(help="As precompute is to have it.")] = 1000,
    max_bad_fraction: Annotated[float, typer.Option(help="Share of the photos that may be bad.")] = 0.01,
    json_: JsonOption = False,
) -> None:
    """Plan and quarantine list of a source, without a teacher: plan.json and quarantine.jsonl. Run it again to go on.

    Example: repvit-sam ingest /data/sa1b --subset 1%@seed=0 --out /data/cache --decode
    """
    folder = check_local_folder(out, name="--out")
    processes = len(os.sched_getaffinity(0)) if processes is None else processes
    listed, decoded = every_few_seconds(), every_few_seconds()
    with kept(folder, what="what was listed and checked is kept"):
        check_output_folder(folder)
        photos = open_source(
            str(resolve_data(source)),
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
