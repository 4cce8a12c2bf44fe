"""Commands around data: precompute."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import encoders
from distill.config import PrecomputeConfig, read_config, write_config
from distill.options import ConfigOption, JsonOption, ProcessesOption, SetOption, every_few_seconds, in_processes
from distill.photos import open_photos
from distill.place import Place, this_place
from encoders.acceleration import accelerate
from encoders.files import atomic_path
from shards import Manifest, PrecomputeProgress, PrecomputeSummary, Source, plan_precompute, wanted_identity
from shards import precompute as run_precompute

CONFIG_FILE = "config.yaml"  # in a cache: the job that made it


def precompute(
    config: ConfigOption,
    set_: SetOption = None,
    num_processes: ProcessesOption = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do and cost, and do nothing.")] = False,
    json_: JsonOption = False,
) -> None:
    """One pass of the teacher over photos, into shards; run it again to continue, or on more machines to share the work.

    Example: repvit-sam precompute --config precompute_sa1b_vit_h --set source.path=/data/sa1b --num-processes 8
    """
    job = read_config(config, PrecomputeConfig, overrides=set_ or [])
    if dry_run:
        facts = plan_facts(job, processes=num_processes)
    elif num_processes != 1:
        in_processes("precompute", config=config, overrides=set_, num_processes=num_processes, apart=True)
        facts = cache_facts(Path(job.out))
    else:
        place = this_place()
        summary = precompute_share(job, place=place)
        if place.rank != 0:
            return
        facts = summary_facts(summary)
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def precompute_share(job: PrecomputeConfig, *, place: Place) -> PrecomputeSummary:
    """This process's share of a job, on its own device; returns when the whole job is done."""
    teacher = open_teacher(job, device=place.device)
    summary = run_share(job, source=open_photos(job, place=place), teacher=teacher, place=place)
    with atomic_path(Path(job.out) / CONFIG_FILE) as temporary:
        write_config(job, temporary)
    return summary


def run_share(job: PrecomputeConfig, *, source: Source, teacher: encoders.Sam, place: Place) -> PrecomputeSummary:
    """The same with what the job names opened, and without writing the job beside the cache."""
    return run_precompute(
        source,
        teacher=teacher,
        **teacher_facts(job),
        out=Path(job.out),
        codec=job.codec,
        samples_per_shard=job.samples_per_shard,
        batch_size=job.batch_size,
        max_bad_fraction=job.max_bad_fraction,
        progress=progress_line(),
        rank=place.rank,
        world_size=place.world_size,
        lease_seconds=job.lease_seconds,
        codec_gate=job.codec_gate,
    )


def open_teacher(job: PrecomputeConfig, *, device: torch.device) -> encoders.Sam:
    """The teacher of a job, on a device."""
    teacher = encoders.load(job.teacher.model, arch=job.teacher.arch, image_size=job.teacher.image_size).to(device)
    return accelerate(teacher, precision=job.teacher.precision, compiled=job.teacher.compile)


def teacher_facts(job: PrecomputeConfig) -> dict[str, str]:
    """How the cache names the teacher of a job."""
    return {
        "teacher_name": job.teacher.arch or job.teacher.model,
        "teacher_sha256": encoders.weights_sha256(job.teacher.model),
    }


def plan_facts(job: PrecomputeConfig, *, processes: int) -> dict[str, Any]:
    """What a pass would do and cost, for people and machines."""
    source, teacher = open_photos(job, keep_index=False), open_teacher(job, device=this_place().device)
    identity = wanted_identity(
        source, teacher=teacher, **teacher_facts(job), codec=job.codec, samples_per_shard=job.samples_per_shard
    )
    print(f"planning for {len(source.items())} photos of {source.name}", file=sys.stderr)
    plan = plan_precompute(
        source,
        teacher=teacher,
        identity=identity,
        out=Path(job.out),
        batch_size=job.batch_size,
        processes=processes,
        seed=job.seed,
    )
    facts = {"cache": job.out, "source": source.name, "teacher": identity.teacher, "codec": job.codec, **asdict(plan)}
    return facts | {"photos_per_second": round(plan.photos_per_second, 3), "hours": round(plan.hours, 4)}


def summary_facts(summary: PrecomputeSummary) -> dict[str, Any]:
    """What a pass did, for people and machines."""
    return {
        "cache": str(summary.out),
        "photos": summary.photos,
        "quarantined": summary.quarantined,
        "shards": summary.shards,
        "shards_made": summary.shards_made,
        "bytes": summary.bytes,
        "seconds": round(summary.seconds, 2),
        "teacher_seconds": round(summary.teacher_seconds, 2),
        "complete": summary.complete,
    }


def cache_facts(folder: Path) -> dict[str, Any]:
    """What a complete cache holds."""
    manifest = Manifest.read(folder)
    return {
        "cache": str(folder),
        "photos": manifest.samples,
        "quarantined": len(manifest.quarantined),
        "shards": len(manifest.entries),
        "bytes": sum(entry.bytes for entry in manifest.entries),
        "complete": True,
    }


def progress_line() -> Callable[[PrecomputeProgress], None]:
    """A callback that says where the pass is, on stderr, every few seconds and at its end."""
    say = every_few_seconds()

    def show(progress: PrecomputeProgress) -> None:
        say(
            f"photo {progress.photos}/{progress.photos_total}, {progress.quarantined} quarantined, "
            f"shard {progress.shards}/{progress.shards_total}, {progress.seconds:.0f} s",
            last=progress.photos >= progress.photos_total,
        )

    return show


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(precompute)
