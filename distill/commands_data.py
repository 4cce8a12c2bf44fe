"""Commands around data: precompute."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

import encoders
from distill.config import PrecomputeConfig, read_config, write_config
from distill.options import ConfigOption, JsonOption, ProcessesOption, SetOption, every_few_seconds, in_processes
from distill.place import Place, this_place
from distill.sample_data import resolve_data
from encoders.files import atomic_path
from shards import Manifest, PrecomputeProgress, PrecomputeSummary, ViewSource, open_source
from shards import precompute as run_precompute


def precompute(
    config: ConfigOption,
    set_: SetOption = None,
    num_processes: ProcessesOption = 1,
    json_: JsonOption = False,
) -> None:
    """One pass of the teacher over photos, into shards; run it again to continue.

    Example: repvit-sam precompute --config precompute_sa1b_vit_h --set source.path=/data/sa1b --num-processes 8
    """
    job = read_config(config, PrecomputeConfig, overrides=set_ or [])
    if num_processes != 1:
        in_processes("precompute", config=config, overrides=set_, num_processes=num_processes)
        facts = cache_facts(Path(job.out))
    else:
        place = this_place()
        summary = precompute_share(job, place=place)
        if place.rank != 0:
            return
        facts = summary_facts(summary)
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def precompute_share(job: PrecomputeConfig, *, place: Place) -> PrecomputeSummary:
    """This process's share of a job, on its own device."""
    source = open_source(str(resolve_data(job.source.path)), images=Path(job.source.images) if job.source.images else None)
    if job.source.views > 1:
        source = ViewSource(source, views=job.source.views, seed=job.seed)
    teacher = encoders.load(job.teacher.model, arch=job.teacher.arch, image_size=job.teacher.image_size)
    summary = run_precompute(
        source,
        teacher=teacher.to(place.device),
        teacher_name=job.teacher.arch or job.teacher.model,
        teacher_sha256=encoders.weights_sha256(job.teacher.model),
        out=Path(job.out),
        codec=job.codec,
        samples_per_shard=job.samples_per_shard,
        batch_size=job.batch_size,
        max_bad_fraction=job.max_bad_fraction,
        progress=progress_line(),
        rank=place.rank,
        world_size=place.world_size,
    )
    if place.rank == 0:
        with atomic_path(Path(job.out) / "config.yaml") as temporary:
            write_config(job, temporary)
    return summary


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
