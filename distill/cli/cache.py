"""Commands on an existing cache: `repvit-sam cache ...`."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import encoders
from distill.cli import verify as commands_verify
from distill.cli.options import JsonOption
from distill.cli.precompute import CONFIG_FILE
from distill.config.reading import read_config
from distill.config.runs import PrecomputeConfig, TeacherConfig
from distill.launching.world import read_world
from encoders.errors import InputError
from shards import CacheSample, get_codec, missed_gate
from shards.cache.channels import CHANNELS_FILE
from shards.pipeline.object_stores.mirror import small_files
from shards.verification.channels import write_channels

cache_app = typer.Typer(no_args_is_help=True, help="Inspect or verify a cache of teacher embeddings.")

FIDELITY = ("relative_mse", "cosine", "mask_iou", "mask_iou_error", "score_difference")


@cache_app.command()
def stats(
    cache: Annotated[str, typer.Argument(help="Folder of the cache, or its URL, finished or not.")],
    samples: Annotated[int, typer.Option(help="Number of records to measure, drawn at random.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    teacher: Annotated[
        str | None, typer.Option(help="The teacher that made the cache (default: the one named in its config.yaml).")
    ] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of the teacher, if its file does not say.")] = None,
    channels: Annotated[
        bool, typer.Option("--channels", help="Only write channels.json, which loss.normalize=channel needs.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Show what a cache contains, how large it is, and how well its codec preserves the teacher's embeddings and masks.

    bytes_per_sample is the mean size of a record without its JPEG: the embedding and the json (including masks as RLE), each
    with tar header and padding. relative_mse, cosine, mask_iou and score_difference compare the stored embeddings with new ones
    that the teacher computes from the stored pixels; masks are prompted by the stored boxes, or by a 4 x 4 grid of points if a
    photo has none. These need the teacher that made the cache, which is checked by its sha256.

    Example: repvit-sam cache stats runs/quickstart/cache --samples 100
    """
    measured = channel_facts if channels else partial(stats_facts, samples=samples, seed=seed, teacher=teacher, arch=arch)
    facts = measured(cache)
    print(json.dumps(facts) if json_ else "\n".join(f"{key}: {value}" for key, value in facts.items()))


def channel_facts(folder: Path | str) -> dict[str, Any]:
    """Write the statistics of a cache's channels unless they are there; return what was measured, over all channels."""
    found = write_channels(folder)
    return {
        "cache": str(folder),
        "file": CHANNELS_FILE,
        "samples": found.samples,
        "positions": found.positions,
        "mean": [min(found.mean), max(found.mean)],
        "std": [min(found.std), max(found.std)],
    }


def stats_facts(
    folder: Path | str, *, samples: int, seed: int = 0, teacher: str | None = None, arch: str | None = None
) -> dict[str, Any]:
    """Return the facts that `cache stats` prints."""
    drawn = CacheSample(folder, samples=samples, seed=seed)
    identity, found = drawn.manifest.identity, drawn.stats()
    facts = {
        "cache": str(folder),
        "codec": identity.codec,
        "teacher": identity.teacher,
        "image_size": identity.image_size,
        "photos": found.photos,
        "quarantined": found.quarantined,
        "shards": found.shards,
        "shards_total": found.shards_total,
        "complete": found.complete,
        "bytes": found.bytes,
        "samples": found.samples,
        "bytes_per_sample": round(found.bytes_per_sample, 1),
        "embedding_bytes": round(found.embedding_bytes, 1),
        "json_bytes": round(found.json_bytes, 1),
    }
    problem = None
    try:
        named = named_teacher(folder, fallback=identity.teacher)
        if teacher:
            named = named.model_copy(update={"model": teacher, "arch": arch})
        sha256 = encoders.tensors_sha256(named.model, arch=named.arch, recorded=identity.teacher_sha256)
        drawn.manifest.require(teacher_sha256=sha256)
        loaded = encoders.load(named.model, arch=named.arch, image_size=identity.image_size, decoder=named.decoder)
    except InputError as error:
        if teacher:
            raise
        problem = str(error)
    if problem is not None or not found.samples:
        reason = problem or "no shard is finished"
        return facts | dict.fromkeys(FIDELITY) | {"note": f"fidelity needs the cache's teacher, --teacher M: {reason}"}
    measured = drawn.fidelity(loaded.to(read_world().device))
    missed = missed_gate(measured, get_codec(identity.codec).gate)
    figures = {key: float(f"{getattr(measured, key):.6g}") for key in FIDELITY}
    return facts | figures | {"prompts": measured.prompts, "gate": f"missed: {missed}" if missed else "met"}


def named_teacher(cache: Path | str, *, fallback: str) -> TeacherConfig:
    """Return the teacher recorded in the cache's config.yaml, or the fallback where there is none."""
    with small_files(cache) as folder:
        path = folder / CONFIG_FILE
        if not path.is_file():
            return TeacherConfig(model=fallback)
        return read_config(path, PrecomputeConfig).teacher


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    commands_verify.register(cache_app)
    app.add_typer(cache_app, name="cache")
