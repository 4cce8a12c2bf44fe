"""Makes shards one after another in stages that overlap: read, teach, code, write.

How a caller uses it:

    maker = ShardMaker(source, teacher=teacher, identity=identity, folder=folder, batch_size=8)
    for made in maker.make(indexes, progress=count, reject=quarantine):
        made.publish()                  # gives the shard its final name; False if another process has published one
        write_entry(made.entry)
    maker.close()

`indexes` is pulled in the thread that runs `make`, at most two shards ahead of the one that is yielded next; when it ends,
what was pulled is finished. An iterator that claims shards among processes must therefore end, rather than wait for a shard
that it has given to this call; the caller calls `make` again for what others leave. `progress` and `reject` are called in
the same thread, in the order of the photos: for a shard after the one before was yielded. A made shard is synced to disk
under a temporary name that `shards.pipeline.shard_plan.clear_leftovers` knows. If `make` ends early, by an error or because
its caller stops, the files of shards that were not yielded are removed. `close` ends all threads.

Photos are read and resized in threads ahead of the teacher, also across the border of two shards; the thread of `make` fills
batches, launches the teacher and hands its results to threads that code them; one more thread writes. A batch never spans
two shards, and all stages keep the order, so the bytes do not depend on the threads.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from encoders.errors import InputError
from encoders.sam import Sam
from shards.cache.identity import CacheIdentity
from shards.cache.stored_photo import BadSample
from shards.pipeline.made_shard import MadeShard
from shards.pipeline.maker_run import MakerRun
from shards.pipeline.stages import Made, Stages
from shards.pipeline.teacher_pass import Passes, TeacherPasses
from shards.sources.base import Source


class ShardMaker:
    """Makes shards of one cache one after another, reading ahead across their borders.

    Args:
        source: where the photos come from.
        teacher: in eval mode, on its device; or something else that makes embeddings of photos.
        identity: of the cache; says which photos a shard has, and how they are coded.
        folder: the cache.
        batch_size: photos in a pass of the teacher; part of what decides the bytes of a shard.
        decode_workers: threads that read photos, and as many that code embeddings; None for the cores of this process.
        sealed: whether records have checksums of the sample's other files.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(
        self,
        source: Source,
        *,
        teacher: Sam | Passes,
        identity: CacheIdentity,
        folder: Path,
        batch_size: int,
        decode_workers: int | None = None,
        sealed: bool = True,
    ) -> None:
        workers = worker_count(decode_workers)
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}; expected at least 1 photo")
        self._stages = Stages(
            source=source,
            identity=identity,
            folder=folder,
            batch_size=batch_size,
            sealed=sealed,
            ahead=2 * (batch_size + workers),
            teacher=TeacherPasses(teacher, batch_size=batch_size) if isinstance(teacher, Sam) else teacher,
            readers=ThreadPoolExecutor(workers, thread_name_prefix="read"),
            coders=ThreadPoolExecutor(workers, thread_name_prefix="code"),
            writer=ThreadPoolExecutor(1, thread_name_prefix="write"),
        )

    def make(
        self,
        indexes: Iterable[int],
        *,
        progress: Callable[[Made], None] | None = None,
        reject: Callable[[int, BadSample], None] | None = None,
    ) -> Iterator[MadeShard]:
        """Yield each shard, in the order of `indexes`, once it is on disk under a temporary name.

        Args:
            indexes: numbers of shards; may be lazy, see this file's docstring.
            progress: called after every batch.
            reject: called with the number of the shard and each photo left out of it; may raise InputError to end the work.

        Raises:
            InputError: the teacher is unfit (see `shards.pipeline.teacher_pass.embed`), or the folder cannot be written to.
            FileNotFoundError: the folder is gone.
        """
        run = MakerRun(self._stages, iter(indexes), progress=progress, reject=reject)
        try:
            yield from run.shards()
        finally:
            run.end()

    def close(self) -> None:
        """End all threads."""
        self._stages.close()

    def __enter__(self) -> "ShardMaker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def worker_count(decode_workers: int | None) -> int:
    """Return the number of threads that read photos: as given, or the cores that this process may use.

    Raises:
        InputError: fewer than 1.
    """
    if decode_workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if decode_workers < 1:
        raise InputError(f"decode_workers={decode_workers}; expected at least 1, or null for the cores of this process")
    return decode_workers
