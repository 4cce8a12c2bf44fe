"""Precompute jobs: opening what a config names, and leading workers on any engine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

import encoders
from distill.config.models import load_teacher
from distill.config.reading import write_config
from distill.config.runs import PrecomputeConfig
from distill.engines.base import EngineOptions, run
from distill.engines.gone import Gone
from distill.jobs.photos import open_photos
from distill.launching.world import World
from encoders.acceleration import accelerate
from encoders.errors import InputError
from encoders.files import atomic_path, check_output_folder
from shards import CacheIdentity, PrecomputeProgress, PrecomputeSummary, Source, wanted_identity
from shards import precompute as run_precompute
from shards.cache.kept import kept
from shards.pipeline.lead import finished_elsewhere
from shards.pipeline.object_stores.mirror import CONFIG_FILE, Mirror, open_mirror
from shards.pipeline.precompute import open_lead, summary
from shards.pipeline.worker import CacheWorker
from shards.stores.objects import open_objects
from shards.stores.retry import is_url
from shards.verification.channels import write_channels

STAYS = "finished shards are kept"
Show = Callable[[PrecomputeProgress], None]


@dataclass(frozen=True)
class PrecomputeWork:
    """What each worker of a precompute opens: the teacher on its device, and the source."""

    job: PrecomputeConfig
    scratch: Path | None = None  # the lead's, of a cache in an object store

    @property
    def label(self) -> str:
        """The cache."""
        return self.job.out

    @contextmanager
    def open(self, world: World, /) -> Iterator[CacheWorker]:
        """Open a worker and begin the cache, or continue it."""
        job = self.job
        teacher = open_teacher(job, device=world.device)
        mirror = None if self.scratch is None else Mirror(open_objects(job.out), self.scratch)
        folder = self.scratch or Path(job.out)
        with kept(folder, what=STAYS):
            if mirror is not None:
                mirror.pull_identity()
            source = open_photos(job, world=world)
            wanted = wanted_identity(
                source,
                teacher=teacher,
                **teacher_facts(job, folder=folder),
                codec=job.codec,
                samples_per_shard=job.samples_per_shard,
                decode=job.source.decode,
            )
            with CacheWorker(
                source,
                teacher=teacher,
                wanted=wanted,
                folder=folder,
                batch_size=job.batch_size,
                decode_workers=job.decode_workers,
                codec_gate=job.codec_gate,
                mirror=mirror,
            ) as worker:
                try:
                    yield worker
                except FileNotFoundError as error:
                    if not finished_elsewhere(folder, worker.facts.identity):
                        raise
                    raise Gone(f"{job.out} was finished by another process") from error


def precompute_job(job: PrecomputeConfig, *, options: EngineOptions, progress: Show | None = None) -> PrecomputeSummary:
    """Do this process's part of a job: all of it, or a rank's share.

    Raises:
        InputError: see `shards.precompute` and `distill.engines.base.run`; that `out` cannot be written to shows before the
            teacher is loaded.
    """
    mirror = None
    if is_url(job.out):
        world = options.world
        mirror = open_mirror(job.out, scratch=job.scratch, rank=world.rank, world_size=world.world_size)
        mirror.pull_identity()  # shows whether the store answers, before the teacher is loaded
    out = Path(job.out) if mirror is None else mirror.folder
    with kept(out, what=STAYS):
        check_output_folder(out)
        if options.alone:
            teacher = open_teacher(job, device=options.world.device)
            source = open_photos(job, world=options.world)
            made = run_share(job, source=source, teacher=teacher, world=options.world, progress=progress, folder=out)
        else:
            made = _lead(job, mirror=mirror, options=options, progress=progress)
        with atomic_path(out / CONFIG_FILE) as temporary:
            write_config(job, temporary)
        if mirror is None and made.complete:
            with suppress(InputError):  # a damaged shard is no matter here; a loss that needs the file says what to do
                write_channels(out)
        if mirror is not None:
            mirror.push(CONFIG_FILE)
    return made


def _lead(
    job: PrecomputeConfig, *, mirror: Mirror | None, options: EngineOptions, progress: Show | None
) -> PrecomputeSummary:
    started, world = time.monotonic(), options.world
    work = PrecomputeWork(job, scratch=None if mirror is None else mirror.folder)
    with open_lead(
        Path(job.out),
        mirror,
        max_bad_fraction=job.max_bad_fraction,
        progress=progress,
        rank=world.rank,
        world_size=world.world_size,
    ) as lead:
        try:
            while True:
                run(work, lead, options=options)
                if lead.finish():
                    break
        except FileNotFoundError:  # Gone is one too
            if not lead.finished_elsewhere():
                raise
    return summary(lead, seconds=time.monotonic() - started)


def run_share(
    job: PrecomputeConfig,
    *,
    source: Source,
    teacher: encoders.Sam,
    world: World,
    progress: Show | None,
    folder: Path | None = None,
) -> PrecomputeSummary:
    """Make a rank's share in this process, with the source and teacher already opened; `folder` as in `teacher_facts`."""
    return run_precompute(
        source,
        teacher=teacher,
        **teacher_facts(job, folder=folder),
        out=job.out if is_url(job.out) else Path(job.out),
        scratch=job.scratch,
        codec=job.codec,
        samples_per_shard=job.samples_per_shard,
        batch_size=job.batch_size,
        decode_workers=job.decode_workers,
        max_bad_fraction=job.max_bad_fraction,
        progress=progress,
        rank=world.rank,
        world_size=world.world_size,
        codec_gate=job.codec_gate,
        decode=job.source.decode,
    )


def open_teacher(job: PrecomputeConfig, *, device: torch.device) -> encoders.Sam:
    """Load the teacher of a job on a device."""
    teacher = load_teacher(job.teacher).to(device)
    return accelerate(teacher, precision=job.teacher.precision, compiled=job.teacher.compile)


def teacher_facts(job: PrecomputeConfig, *, folder: Path | None = None) -> dict[str, str]:
    """Return the teacher's name and checksum for the cache; an existing cache keeps its name for the same teacher.

    Args:
        folder: with `cache.json`, if that is not the output folder: the scratch folder of a cache at a URL.
    """
    begun = CacheIdentity.read(folder or Path(job.out))
    return teacher_facts_as(job, recorded=None if begun is None else begun.teacher_sha256)


def teacher_facts_as(job: PrecomputeConfig, *, recorded: str | None) -> dict[str, str]:
    """Like `teacher_facts`, given the checksum recorded in the cache; see `encoders.tensors_sha256`."""
    return {
        "teacher_name": job.teacher.arch or job.teacher.model,
        "teacher_sha256": encoders.tensors_sha256(job.teacher.model, arch=job.teacher.arch, recorded=recorded),
    }
