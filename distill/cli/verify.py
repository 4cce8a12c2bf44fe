"""`repvit-sam cache verify`."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import encoders
from distill.cli.options import JsonOption
from distill.cli.precompute import progress_line
from distill.config.reading import read_config
from distill.config.runs import PrecomputeConfig
from distill.jobs.photos import open_photos
from distill.jobs.precompute import CONFIG_FILE, open_teacher, run_share, teacher_facts_as
from distill.jobs.progress import every_few_seconds
from distill.launching.world import read_world
from encoders.errors import InputError
from shards import CacheIdentity, Manifest, Source, VerifyReport, clear_damaged, get_codec, wanted_identity
from shards import verify as verify_cache
from shards.pipeline.object_stores.mirror import small_files
from shards.pipeline.work_folder import known_entries, work_entries
from shards.verification.verify import read_usable_lines

SAMPLES = 8


def verify(
    cache: Annotated[str, typer.Argument(help="Folder of the cache, or its URL.")],
    samples: Annotated[int, typer.Option(min=0, help="Number of samples to recompute with the teacher.")] = SAMPLES,
    teacher: Annotated[
        str | None, typer.Option(help="The teacher (default: the one named in the cache's config.yaml).")
    ] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of a teacher that is a weights file.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw of samples.")] = 0,
    repair: Annotated[
        bool, typer.Option("--repair", help="Recompute what is damaged, from the photos named in config.yaml.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Check every byte of a cache, and recompute some samples with the teacher. The exit code is 1 if anything is wrong.

    Example: repvit-sam cache verify runs/quickstart/cache --samples 32
    """
    identity = _readable_identity(cache)
    source, why_not = _source(cache)
    if samples and identity is not None:
        job = _job(cache, teacher=teacher, arch=arch, image_size=identity.image_size)
        report = verify_cache(
            cache,
            teacher=open_teacher(job, device=read_world().device),
            teacher_sha256=encoders.tensors_sha256(
                job.teacher.model, arch=job.teacher.arch, recorded=identity.teacher_sha256
            ),
            samples=samples,
            seed=seed,
            source=source,
            progress=_progress(),
        )
    else:
        report = verify_cache(cache, source=source, progress=_progress())
    if source is None:
        report.source = f"not compared: {why_not}"
    facts = report_facts(report)
    if repair and report.problems:
        facts |= repair_cache(report, job=_job(cache, teacher=teacher, arch=arch))
    print(json.dumps(facts) if json_ else "\n".join(_lines(facts)))
    if not facts["ok"]:
        raise typer.Exit(1)


def repair_cache(report: VerifyReport, *, job: PrecomputeConfig) -> dict[str, Any]:
    """Repair a cache by making damaged or missing shards again.

    Returns:
        As `report_facts` afterwards, with `found`: the problems before; `repaired`: the shards that this call made;
        `made_before`: those that an interrupted call had made already; `changed`: those that differ from what was there
        before the damage, as far as the manifest knows it, and then a `note` on why that may be.

    Raises:
        InputError: the job would make another cache, or is refused; or the damage is beyond repair.
    """
    cache, world = report.cache, read_world()
    source, teacher = open_photos(job, keep_index=False), open_teacher(job, device=world.device)
    wanted = wanted_identity(
        source,
        teacher=teacher,
        **teacher_facts_as(job, recorded=_recorded_teacher(cache)),
        codec=job.codec,
        samples_per_shard=job.samples_per_shard,
        decode=job.source.decode,
    )
    before = clear_damaged(report, wanted=wanted)
    with small_files(cache) as folder:
        there, made_before = known_entries(folder), sorted(work_entries(folder)[0])
    run_share(job, source=source, teacher=teacher, world=world, progress=progress_line())
    after = {entry.name: entry.sha256 for entry in Manifest.read(cache).entries}
    changed = [name for name in report.damaged if name in before and before[name] != after.get(name)]
    left = report_facts(verify_cache(cache, source=source, progress=_progress()))
    repaired = sorted(set(after) - set(there))
    found = {"found": report_facts(report)["problems"], "repaired": repaired, "made_before": made_before, "changed": changed}
    if changed:
        found["note"] = why_changed(job.codec)
    return found | {name: left[name] for name in ("ok", "shards", "photos", "bytes", "source", "problems", "rerun")}


def why_changed(codec: str) -> str:
    """Return why shards that were made again may have other bytes than before the damage."""
    reasons = ["another kind of machine", "another batch size"]
    if (encoder := get_codec(codec).encoder) > 1:
        reasons.append(f"an earlier release: {codec} is encoded in another way now (encoder {encoder}), and read as before")
    return (
        f"the changed shards hold the same photos, by the same teacher, in other bytes. If they were first made by"
        f" {', or '.join(reasons)}, that is as it should be; the manifest has the new checksums"
    )


def report_facts(report: VerifyReport) -> dict[str, Any]:
    """Return a verification report for text and JSON output."""
    return {
        "cache": str(report.cache),
        "ok": not report.problems,
        "shards": report.shards,
        "photos": report.photos,
        "bytes": report.bytes,
        "recomputed": report.recomputed,
        "worst_error": report.worst_error,
        "codec_error": report.codec_error,
        "source": report.source,
        "problems": [asdict(problem) | {"remedy": problem.remedy.value} for problem in report.problems],
        "rerun": report.rerun,
    }


def _readable_identity(cache: Path | str) -> CacheIdentity | None:
    with small_files(cache) as folder:
        try:
            return CacheIdentity.read(folder)
        except InputError:  # a finding, not bad input
            return None


def _recorded_teacher(cache: Path | str) -> str | None:
    """Return the teacher's checksum recorded in `cache.json` or, if that is lost or damaged, in the manifest."""
    if (identity := _readable_identity(cache)) is not None:
        return identity.teacher_sha256
    with small_files(cache) as folder:
        entries, _ = read_usable_lines(folder)
    return next((entry.teacher_sha256 for entry in entries.values()), None)


def _source(cache: Path | str) -> tuple[Source | None, str]:
    """Open the photos that a cache was made from; None and the reason if they are unavailable, which is not an error."""
    with small_files(cache) as folder:
        if not (folder / CONFIG_FILE).is_file():
            return None, f"{CONFIG_FILE} is missing"
    try:
        return open_photos(_job(cache, teacher=None, arch=None), keep_index=False), ""
    except InputError as error:
        return None, str(error)


def _job(
    cache: Path | str, *, teacher: str | None, arch: str | None, image_size: int | None = None
) -> PrecomputeConfig:
    """Return the job that made a cache, with the current paths of the cache and the teacher."""
    with small_files(cache) as folder:
        path = folder / CONFIG_FILE
        if not path.is_file():
            raise InputError(
                f"{path} does not exist, so teacher and photos are unknown; a precompute command that ends writes it."
                " To check only what the cache says of itself: --samples 0"
            )
        job = read_config(path, PrecomputeConfig)
    named = job.teacher if teacher is None else job.teacher.model_copy(update={"model": teacher, "arch": arch})
    named = named.model_copy(update={} if image_size is None else {"image_size": image_size})
    return job.model_copy(update={"out": str(cache), "teacher": named})


def _lines(facts: dict[str, Any]) -> list[str]:
    """Format the report as text: single-line facts, then problems, then what to do."""
    lists = ("problems", "found")
    lines = [f"{name}: {value}" for name, value in facts.items() if name not in (*lists, "rerun")]
    for name in lists:
        for problem in facts.get(name, []):
            sample = f": sample {problem['key']}" if problem["key"] else ""
            lines.append(f"{name[:7]}: {problem['where']}{sample}: {problem['problem']}")
    return lines if facts["rerun"] is None else [*lines, f"rerun: {facts['rerun']}"]


def _progress() -> Callable[[int, int], None]:
    """Return a callback that prints the number of checked shards to stderr every few seconds and at the end."""
    say = every_few_seconds()
    return lambda done, total: say(f"checked shard {done}/{total}", last=done == total)


def register(app: typer.Typer) -> None:
    """Add this file's commands to `repvit-sam cache`."""
    app.command()(verify)
