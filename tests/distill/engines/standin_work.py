"""A precompute with the stand-in teacher, as work for an engine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import shards
from distill.launching.world import World
from shards import wanted_identity
from shards.pipeline.lead import CacheLead
from shards.pipeline.worker import CacheWorker
from tests.shards.helpers import standin


@dataclass(frozen=True)
class StandinWork:
    """Opens a source of photos and the stand-in teacher; "pids" gets a file for each worker."""

    photos: Path
    out: Path
    pids: Path
    settings: dict[str, Any] = field(default_factory=dict)
    pause_seconds: float = 0.0

    @property
    def label(self) -> str:
        return str(self.out)

    @contextmanager
    def open(self, world: World, /) -> Iterator[CacheWorker]:
        torch.set_num_threads(1)
        (self.pids / str(os.getpid())).touch()
        source, teacher = shards.open_source(self.photos), standin.standin_teacher(pause_seconds=self.pause_seconds)
        call = {**standin.CALL, **self.settings}
        names = ("teacher_name", "teacher_sha256", "samples_per_shard")
        wanted = wanted_identity(source, teacher=teacher, codec="int8", **{name: call[name] for name in names})
        with CacheWorker(
            source,
            teacher=teacher,
            wanted=wanted,
            folder=self.out,
            batch_size=call["batch_size"],
            decode_workers=1,
            codec_gate=False,
        ) as worker:
            yield worker

    def lead(self, **changes: Any) -> CacheLead:
        """Who leads it."""
        return CacheLead(self.out, max_bad_fraction=0.2, **changes)

    def workers(self) -> list[int]:
        """Numbers of the processes that were workers."""
        return [int(path.name) for path in self.pids.iterdir()]
