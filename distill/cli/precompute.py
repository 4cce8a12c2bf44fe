"""Commands around data: precompute."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli.options import (
    ConfigOption,
    EngineOption,
    JsonOption,
    RayOption,
    RetryOption,
    SetOption,
    StallOption,
    WorkersOption,
)
from distill.config.reading import read_config
from distill.config.runs import PrecomputeConfig
from distill.engines.base import MAX_SHARD_RETRY, engine_options
from distill.engines.stall import STALL_MINUTES
from distill.jobs.photos import open_photos
from distill.jobs.precompute import CONFIG_FILE as CONFIG_FILE  # re-exported
from distill.jobs.precompute import open_teacher, precompute_job, teacher_facts
from distill.jobs.progress import every_few_seconds
from distill.launching.world import World, read_world
from encoders.local_folder import check_local_folder
from encoders.sam import Sam
from shards import CacheIdentity, Manifest, PrecomputeProgress, PrecomputeSummary, Source, plan_precompute, wanted_identity
from shards.pipeline.object_stores.mirror import small_files
from shards.pipeline.progress import progress_text, samples_text
from shards.pipeline.quarantine import QUARANTINE_FILE
from shards.sources.views import photo_key
from shards.stores.objects import open_objects
from shards.stores.retry import is_url, join_url

RENAMED = {  # the teacher treats every view as a photo; messages call it a sample
    "photos_done": "samples_done",
    "bytes_per_photo": "bytes_per_sample",
    "photos_per_second": "samples_per_second",
}


def precompute(
    config: ConfigOption,
    set_: SetOption = None,
    engine: EngineOption = None,
    num_processes: WorkersOption = None,
    max_shard_retry: RetryOption = MAX_SHARD_RETRY,
    stall_minutes: StallOption = STALL_MINUTES,
    ray_address: RayOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the number of photos, bytes and hours, without running the teacher.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Run the teacher over photos and write its embeddings as shards. Resumes if interrupted.

    Several processes share the work, see --engine.

    Example: repvit-sam precompute --config precompute_sa1b_vit_h --set source.path=/data/sa1b --num-processes 8
    """
    job = read_config(config, PrecomputeConfig, overrides=set_ or [])
    if is_url(job.out):
        open_objects(job.out)
    else:
        check_local_folder(job.out, name="out")
    if dry_run:
        facts = plan_facts(job, processes=num_processes or 1)
    else:
        options = engine_options(
            engine,
            processes=num_processes,
            max_shard_retry=max_shard_retry,
            ray_address=ray_address,
            stall_minutes=stall_minutes,
        )
        summary = precompute_job(job, options=options, progress=progress_line())
        if not summary.complete:
            with small_files(summary.out) as folder:
                print(left_to_others(summary, shards=CacheIdentity.read(folder), world=options.world), file=sys.stderr)
            return
        facts = summary_facts(summary, views=job.source.views)
    facts |= quarantine_list(facts, folder=job.out)
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def left_to_others(summary: PrecomputeSummary, *, shards: CacheIdentity | None, world: World) -> str:
    """Return what to say at the end of a rank that does not find the cache complete."""
    total = "" if shards is None else f" of {shards.shards}"
    return (
        f"process {world.rank} of {world.world_size} has made its share; {summary.shards}{total} shards are finished. The"
        " process that finds all of them finished completes the cache; if one ends early, run the same command again"
    )


def plan_facts(job: PrecomputeConfig, *, processes: int) -> dict[str, Any]:
    """Return the facts on a planned precompute for text and JSON output."""
    source, teacher = open_photos(job, keep_index=False), open_teacher(job, device=read_world().device)
    with small_files(job.out) as folder:
        identity = wanted_identity(
            source,
            teacher=teacher,
            **teacher_facts(job, folder=folder),
            codec=job.codec,
            samples_per_shard=job.samples_per_shard,
            decode=job.source.decode,
        )
        return _plan(job, source, teacher, identity, folder=folder, processes=processes)


def _plan(
    job: PrecomputeConfig, source: Source, teacher: Sam, identity: CacheIdentity, *, folder: Path, processes: int
) -> dict[str, Any]:
    text = samples_text(len(source.items()), views=source.views)
    print(f"planning for {text} of {source.name}", file=sys.stderr)
    plan = plan_precompute(
        source,
        teacher=teacher,
        identity=identity,
        out=folder,
        batch_size=job.batch_size,
        processes=processes,
        decode_workers=job.decode_workers,
        seed=job.seed,
    )
    counts = {"photos": plan.photos // source.views, "views": source.views, "samples": plan.photos}
    left = {RENAMED.get(name, name): value for name, value in asdict(plan).items() if name != "photos"}
    rates = {"samples_per_second": round(plan.photos_per_second, 3), "hours": round(plan.hours, 4)}
    return {"cache": job.out, "source": source.name, "teacher": identity.teacher, "codec": job.codec} | counts | left | rates


def summary_facts(summary: PrecomputeSummary, *, views: int) -> dict[str, Any]:
    """Return the facts on a finished precompute for text and JSON output."""
    return {
        "cache": str(summary.out),
        **photo_counts(summary.out, samples=summary.photos, views=views),
        "quarantined": summary.quarantined,
        "shards": summary.shards,
        "shards_made": summary.shards_made,
        "bytes": summary.bytes,
        "seconds": round(summary.seconds, 2),
        "teacher_seconds": round(summary.teacher_seconds, 2),
        "complete": summary.complete,
    }


def photo_counts(folder: Path | str, *, samples: int, views: int) -> dict[str, int]:
    """Count a complete cache's photos (with at least one view), its views per photo, and its samples."""
    photos = samples
    if views > 1:
        photos = len({photo_key(key) for entry in Manifest.read(folder).entries for key in entry.keys})
    return {"photos": photos, "views": views, "samples": samples}


def quarantine_list(facts: Mapping[str, Any], *, folder: Path | str) -> dict[str, str]:
    """Return the path or URL of the quarantine list with its label; empty if no photos were left out."""
    place = join_url(str(folder), QUARANTINE_FILE) if is_url(folder) else str(Path(folder) / QUARANTINE_FILE)
    return {"quarantine": place} if facts.get("quarantined") else {}


def progress_line() -> Callable[[PrecomputeProgress], None]:
    """Return a callback that prints progress to stderr every few seconds and at the end."""
    say = every_few_seconds()
    first: list[PrecomputeProgress] = []

    def show(progress: PrecomputeProgress) -> None:
        if not first:
            first.append(replace(progress))  # as it is now: the caller goes on counting in the same object
        say(progress_text(progress, since=first[0]), last=progress.photos >= progress.photos_total)

    return show


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(precompute)
