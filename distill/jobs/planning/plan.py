"""What a run will take: disk, hours, memory and what limits it, from short measurements and arithmetic."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config.deepspeed import read_deepspeed_config
from distill.config.runs import EmbeddingRun, PrecomputeConfig, PromptRun
from distill.jobs.photos import open_photos
from distill.jobs.planning.compute_cost import STEP_PASSES, activation_bytes, forward_tflop, parameter_count
from distill.jobs.planning.decoding import backbone_learns, decoding_bytes, decoding_tflop
from distill.jobs.planning.gpu_rates import Arithmetic, Gpu
from distill.jobs.planning.plan_probes import loader_seconds, student_photos_per_second, teacher_photos_per_second
from distill.jobs.planning.probe_cost import probe_share, too_often
from encoders.errors import InputError
from encoders.files import free_bytes
from encoders.messages.words import counted
from encoders.model_names import CHECKPOINT_NAMES
from encoders.registry import BUILDERS
from shards import Manifest
from shards.cache.remote import is_url
from shards.pipeline.estimate import measure_photos
from shards.pipeline.maker import worker_count
from shards.pipeline.object_stores.mirror import scratch_folder

HERE, ARITHMETIC = "measured here", "by arithmetic"
BYTES_PER_PHOTO_LISTED = 50  # in memory, for tars
WEIGHT_COPIES = 5  # of a student in training, fp32: weights, gradients, two moments of AdamW, EMA
KEPT_COPIES = 4  # of a student in a checkpoint: all but the gradients


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a plan.

    Attributes:
        name, value, unit: e.g. "disk", 12.5, "GB".
        how: "measured here" or "by arithmetic".
        note: from what.
    """

    name: str
    value: float
    unit: str
    how: str
    note: str = ""


def _here(name: str, value: float, unit: str, *, note: str = "") -> Figure:
    return Figure(name=name, value=value, unit=unit, how=HERE, note=note)


def _calculated(name: str, value: float, unit: str, *, note: str = "") -> Figure:
    return Figure(name=name, value=value, unit=unit, how=ARITHMETIC, note=note)


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A plan's numbers and its bottleneck, in words."""

    figures: tuple[Figure, ...]
    bottleneck: str


def plan_precompute_run(job: PrecomputeConfig, *, gpu: Gpu | None, gpus: int) -> RunPlan:
    """Plan a precompute with one process a GPU, or on this machine's device without a `gpu`.

    Raises:
        InputError: the photos cannot be opened or used, or the teacher's architecture is unknown.
    """
    arch, size = _arch(job.teacher.model, job.teacher.arch), job.teacher.image_size or 1024
    source = open_photos(job, keep_index=False)
    photos = len(source.items())
    cost = measure_photos(source, image_size=size, codec=job.codec, decode=job.source.decode, seed=job.seed)
    probed = f"{cost.photos} photos, one thread"
    workers = job.decode_workers or max(1, worker_count(None) // (gpus if gpu is None else 1))
    feed = workers / (cost.reading_seconds + cost.coding_seconds)
    flop = forward_tflop(arch, image_size=size)
    if gpu is None:
        rate = teacher_photos_per_second(job, image_size=size)
        teaching = _here("teacher", rate, "photos/s", note="one batch after another, one process")
    else:
        rate = gpu.teacher_tflops(job.teacher.precision) / flop
        note = _share(gpu, job.teacher.precision, gpu.teacher_tflops(job.teacher.precision), flop)
        teaching = _calculated("teacher", rate, "photos/s a GPU", note=note)
    total = gpus * min(rate, feed)
    disk = photos * cost.bytes_per_photo
    weights = 4 * parameter_count(arch, image_size=size)
    held = weights + activation_bytes(arch, image_size=size, batch=job.batch_size, training=False)
    free = free_bytes(scratch_folder(job.out, job.scratch) if is_url(job.out) else Path(job.out))
    passes = f"weights and activations, fp32, batch {job.batch_size}"
    figures = (
        _here("photos", photos, "", note=source.name),
        _calculated("disk", disk / 1e9, "GB", note=f"{cost.bytes_per_photo:.0f} bytes a photo ({probed})"),
        _here("disk free", free / 1e9, "GB"),
        _here("reading", 1e3 * cost.reading_seconds, "ms a photo", note=probed),
        _here("coding", 1e3 * cost.coding_seconds, "ms a photo", note=f"codec {job.codec}, {probed}"),
        _calculated("feeding", feed, "photos/s a GPU", note=f"{workers} threads, a core each; else --set decode_workers=N"),
        teaching,
        _calculated("together", total, "photos/s", note=f"{gpus} processes"),
        _calculated("time", photos / total / 3600, "hours"),
        _resident(gpus, more=BYTES_PER_PHOTO_LISTED * photos),
        _calculated("GPU memory", held / 1e9, "GB", note=passes),
    )
    lacking = [f"the disk lacks {(disk - free) / 1e9:.0f} GB"] if disk > free and not is_url(job.out) else []
    limit = f"the teacher ({rate:.3g} photos/s a process; reading and coding could feed {feed:.3g})"
    if feed < rate:
        limit = f"reading and coding ({feed:.3g} photos/s a process; the teacher could take {rate:.3g}): give more cores"
    return RunPlan(figures=figures, bottleneck="; ".join([limit, *lacking, *_too_large(held, gpu)]))


def plan_distil_run(job: EmbeddingRun | PromptRun, *, gpu: Gpu | None, gpus: int, photos: int | None = None) -> RunPlan:
    """Plan a distillation with one process a GPU, or on this machine's device without a `gpu`.

    Args:
        photos: number of the cache's samples, if there is no cache yet.

    Raises:
        InputError: the cache cannot be read and `photos` is not given, or the batch does not divide among the processes.
    """
    settings = read_deepspeed_config(job.deepspeed)
    parts = gpus * settings.gradient_accumulation_steps
    if job.global_batch % parts:
        raise InputError(f"global_batch {job.global_batch} does not divide into {parts} equal parts; give other --gpus")
    batch, arch, size = job.global_batch // parts, job.model.arch, job.model.image_size
    arithmetic: Arithmetic = "bf16" if settings.torch_autocast.enabled else "tf32" if job.compute.tf32 else "fp32"
    samples, cached = _samples(job, photos)
    steps = job.schedule.steps or -(-samples * (job.schedule.epochs or 1) // job.global_batch)
    learns, decoded = backbone_learns(job), ""
    seen, flop = steps * job.global_batch, (STEP_PASSES if learns else 1) * forward_tflop(arch, image_size=size)
    if isinstance(job, PromptRun):
        flop += decoding_tflop(job)
        decoded = f", {job.prompts.per_photo} prompts a photo in {counted(job.prompts.rounds, 'round')}"
    if gpu is None:
        rate = student_photos_per_second(job, batch=batch, autocast=settings.torch_autocast.enabled)
        learning = _here("student", rate, "photos/s", note=f"steps of {batch}{decoded}, one process")
    else:
        rate = gpu.student_tflops(arithmetic) / flop
        note = _share(gpu, arithmetic, gpu.student_tflops(arithmetic), flop) + decoded
        learning = _calculated("student", rate, "photos/s a GPU", note=note)
    weights = 4 * parameter_count(arch, image_size=size)
    held = WEIGHT_COPIES * weights + activation_bytes(arch, image_size=size, batch=batch, training=learns)
    if isinstance(job, PromptRun):
        held += batch * decoding_bytes(job)
    figures = [
        _here("photos", samples, "") if cached else _calculated("photos", samples, "", note="as given"),
        _calculated("updates", steps, "", note=f"of {job.global_batch} photos, {batch} a pass"),
        _calculated("disk", KEPT_COPIES * weights * job.checkpoint.keep / 1e9, "GB", note="checkpoints"),
        _here("disk free", free_bytes(job.folder) / 1e9, "GB"),
        learning,
    ]
    passes, feed = f"weights, AdamW, EMA, activations, fp32, {batch} photos", float("inf")
    if cached:
        seconds = loader_seconds(job, batch=batch)
        feed = max(1, min(job.data.num_workers, os.cpu_count() or 1)) / seconds
        figures.append(_here("reading", 1e3 * seconds, "ms a photo", note="one worker"))
    total, probing = gpus * min(rate, feed), 0.0
    if job.probe is not None:
        probing = probe_share(job.probe, arch=arch, image_size=size, update_tflop=job.global_batch // gpus * flop)
        note = f"of the products computed, {job.probe.photos} photos every {job.probe.every_steps} updates"
        figures.append(_calculated("probe", 100 * probing, "%", note=note))
    figures += [
        _calculated("together", total, "photos/s", note=f"{gpus} processes, waiting for each other left out"),
        _calculated("time", seen / total / 3600, "hours"),
        _resident(gpus, more=10 * samples),
        _calculated("GPU memory", held / 1e9, "GB", note=passes),
    ]
    limit = f"the student ({rate:.3g} photos/s a process)"
    if feed < rate:
        limit = f"reading the cache ({feed:.3g} photos/s a process; the student could take {rate:.3g}): raise data.num_workers"
    elif not cached:
        limit += "; reading was not measured, there is no cache yet"
    often = too_often(job.probe, probing) if job.probe is not None else []
    return RunPlan(figures=tuple(figures), bottleneck="; ".join([limit, *often, *_too_large(held, gpu)]))


def _samples(job: EmbeddingRun | PromptRun, photos: int | None) -> tuple[int, bool]:
    """Return the number of samples, and whether it is from the cache."""
    cache = job.data.cache
    if not is_url(cache) and (Path(cache) / "manifest.jsonl").is_file():
        return Manifest.read(cache).samples, True
    if photos is None:
        raise InputError(f"{cache} holds no finished cache on this machine; say how many photos it will have with --photos N")
    return photos, False


def _arch(model: str, arch: str | None) -> str:
    name = CHECKPOINT_NAMES.get(arch or model, arch or model)
    if name not in BUILDERS:
        raise InputError(f"{model} is not a model's name; say which it is, e.g. --set teacher.arch=sam_vit_h")
    return name


def _share(gpu: Gpu, arithmetic: Arithmetic, tflops: float, flop: float) -> str:
    peak = gpu.peak[arithmetic]
    share = f"assumed {tflops / peak:.2f} of {gpu.title}'s {peak:g} TFLOP/s in {arithmetic} ({gpu.source})"
    return f"{share} / {flop:.3g} TFLOP a photo"


def _resident(processes: int, *, more: int) -> Figure:
    """Host memory: what this process has, and what keys or a listing take, in each process."""
    status = Path("/proc/self/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.exists() else None
    now = 1024 * int(found[1]) if found else 0
    note = f"{processes} processes of {now / 1e9:.2f} GB, as this one has, and {more / 1e9:.2f} GB of names"
    return _calculated("host memory", processes * (now + more) / 1e9, "GB", note=note)


def _too_large(held: float, gpu: Gpu | None) -> Sequence[str]:
    if gpu is None or held < 0.9 * gpu.memory_bytes:
        return ()
    return [f"{held / 1e9:.0f} GB do not fit {gpu.title}: take a smaller batch, bf16 or compute.activation_checkpointing"]


def plan_facts(plan: RunPlan) -> dict[str, Any]:
    """Return a plan as JSON types."""
    return {"figures": [vars(figure) for figure in plan.figures], "bottleneck": plan.bottleneck}


def plan_table(plan: RunPlan) -> str:
    """Return a plan as a text table."""
    rows = [(figure.name, _value_text(figure), figure.how, figure.note) for figure in plan.figures]
    name, value, how = (max(len(row[column]) for row in rows) for column in range(3))
    lines = [f"{row[0]:<{name}}  {row[1]:<{value}}  {row[2]:<{how}}  {row[3]}".rstrip() for row in rows]
    return "\n".join([*lines, f"bottleneck: {plan.bottleneck}"])


def _value_text(figure: Figure) -> str:
    whole = figure.value == round(figure.value)
    return (f"{figure.value:,.0f}" if whole or figure.value >= 1000 else f"{figure.value:.3g}") + f" {figure.unit}".rstrip()
