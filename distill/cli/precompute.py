"""Commands around data: precompute."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import encoders
from distill.cli.options import ConfigOption, JsonOption, ProcessesOption, SetOption, in_processes
from distill.config.reading import read_config, write_config
from distill.config.runs import PrecomputeConfig
from distill.jobs.photos import open_photos
from distill.jobs.progress import every_few_seconds
from distill.launching.world import World, read_world
from encoders.acceleration import accelerate
from encoders.files import atomic_path, check_output_folder
from encoders.local_folder import check_local_folder
from shards import CacheIdentity, Manifest, PrecomputeProgress, PrecomputeSummary, Source, plan_precompute, wanted_identity
from shards import precompute as run_precompute
from shards.cache.kept import kept
from shards.pipeline.progress import progress_text, samples_text
from shards.pipeline.quarantine import QUARANTINE_FILE
from shards.sources.views import photo_key

CONFIG_FILE = "config.yaml"  # in a cache: the job that made it
RENAMED = {  # the teacher treats every view as a photo; messages call it a sample
    "photos_done": "samples_done",
    "bytes_per_photo": "bytes_per_sample",
    "photos_per_second": "samples_per_second",
}


def precompute(
    config: ConfigOption,
    set_: SetOption = None,
    num_processes: ProcessesOption = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the number of photos, bytes and hours, without running the teacher.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Run the teacher over photos and write its embeddings as shards. Resumes if interrupted.

    Run the same command on several machines to share the work through the output folder.

    Example: repvit-sam precompute --config precompute_sa1b_vit_h --set source.path=/data/sa1b --num-processes 8
    """
    job = read_config(config, PrecomputeConfig, overrides=set_ or [])
    check_local_folder(job.out, name="out")
    if dry_run:
        facts = plan_facts(job, processes=num_processes)
    elif num_processes != 1:
        in_processes("precompute", config=config, overrides=set_, num_processes=num_processes, apart=True)
        facts = cache_facts(Path(job.out), views=job.source.views)
    else:
        world = read_world()
        summary = precompute_share(job, world=world)
        if world.rank != 0:
            return
        facts = summary_facts(summary, views=job.source.views)
    facts |= quarantine_list(facts, folder=Path(job.out))
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def precompute_share(job: PrecomputeConfig, *, world: World) -> PrecomputeSummary:
    """Run this process's share of a job on its own device; returns when the whole job is done.

    Raises:
        InputError: see `shards.precompute`; that `out` cannot be written to shows before the teacher is loaded.
    """
    with kept(Path(job.out), what="finished shards are kept"):
        check_output_folder(Path(job.out))
    teacher = open_teacher(job, device=world.device)
    with kept(Path(job.out), what="finished shards are kept"):
        summary = run_share(job, source=open_photos(job, world=world), teacher=teacher, world=world)
        with atomic_path(Path(job.out) / CONFIG_FILE) as temporary:
            write_config(job, temporary)
    return summary


def run_share(job: PrecomputeConfig, *, source: Source, teacher: encoders.Sam, world: World) -> PrecomputeSummary:
    """Like `precompute_share`, with the source and teacher already opened, and without writing the job's config."""
    return run_precompute(
        source,
        teacher=teacher,
        **teacher_facts(job),
        out=Path(job.out),
        codec=job.codec,
        samples_per_shard=job.samples_per_shard,
        batch_size=job.batch_size,
        decode_workers=job.decode_workers,
        max_bad_fraction=job.max_bad_fraction,
        progress=progress_line(),
        rank=world.rank,
        world_size=world.world_size,
        lease_seconds=job.lease_seconds,
        codec_gate=job.codec_gate,
    )


def open_teacher(job: PrecomputeConfig, *, device: torch.device) -> encoders.Sam:
    """Load the teacher of a job on a device."""
    teacher = encoders.load(job.teacher.model, arch=job.teacher.arch, image_size=job.teacher.image_size).to(device)
    return accelerate(teacher, precision=job.teacher.precision, compiled=job.teacher.compile)


def teacher_facts(job: PrecomputeConfig) -> dict[str, str]:
    """Return the teacher's name and checksum for the cache; an existing cache keeps its name for the same teacher."""
    begun = CacheIdentity.read(Path(job.out))
    return teacher_facts_as(job, recorded=None if begun is None else begun.teacher_sha256)


def teacher_facts_as(job: PrecomputeConfig, *, recorded: str | None) -> dict[str, str]:
    """Like `teacher_facts`, given the checksum recorded in the cache; see `encoders.tensors_sha256`."""
    return {
        "teacher_name": job.teacher.arch or job.teacher.model,
        "teacher_sha256": encoders.tensors_sha256(job.teacher.model, recorded=recorded),
    }


def plan_facts(job: PrecomputeConfig, *, processes: int) -> dict[str, Any]:
    """Return the facts on a planned precompute for text and JSON output."""
    source, teacher = open_photos(job, keep_index=False), open_teacher(job, device=read_world().device)
    identity = wanted_identity(
        source, teacher=teacher, **teacher_facts(job), codec=job.codec, samples_per_shard=job.samples_per_shard
    )
    text = samples_text(len(source.items()), views=source.views)
    print(f"planning for {text} of {source.name}", file=sys.stderr)
    plan = plan_precompute(
        source,
        teacher=teacher,
        identity=identity,
        out=Path(job.out),
        batch_size=job.batch_size,
        processes=processes,
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


def photo_counts(folder: Path, *, samples: int, views: int) -> dict[str, int]:
    """Count a complete cache's photos (with at least one view), its views per photo, and its samples."""
    photos = samples
    if views > 1:
        photos = len({photo_key(key) for entry in Manifest.read(folder).entries for key in entry.keys})
    return {"photos": photos, "views": views, "samples": samples}


def quarantine_list(facts: Mapping[str, Any], *, folder: Path) -> dict[str, str]:
    """Return the path of the quarantine list with its label; empty if no photos were left out."""
    return {"quarantine": str(folder / QUARANTINE_FILE)} if facts.get("quarantined") else {}


def cache_facts(folder: Path, *, views: int) -> dict[str, Any]:
    """Return the facts on a complete cache."""
    manifest = Manifest.read(folder)
    return {
        "cache": str(folder),
        **photo_counts(folder, samples=manifest.samples, views=views),
        "quarantined": len(manifest.quarantined),
        "shards": len(manifest.entries),
        "bytes": sum(entry.bytes for entry in manifest.entries),
        "complete": True,
    }


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
