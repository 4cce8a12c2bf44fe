"""One run through the stages of making shards; see `shards.pipeline.maker`."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any

from encoders.errors import InputError
from shards.cache.names import shard_name
from shards.cache.shard_writer import ShardFile
from shards.cache.stored_photo import BadSample, StoredPhoto
from shards.pipeline.made_shard import MadeShard
from shards.pipeline.shard_plan import shard_items
from shards.pipeline.stages import BatchAtWork, Made, OpenShard, Stages
from shards.sources.base import Item

OPEN = 3  # shards at work at a time: the one that is yielded next and two ahead
CODING = 1  # batches whose records are awaited while the next one is launched


class MakerRun:
    """One call of `ShardMaker.make`, whose arguments these are."""

    def __init__(
        self,
        stages: Stages,
        indexes: Iterator[int],
        *,
        progress: Callable[[Made], None] | None,
        reject: Callable[[int, BadSample], None] | None,
    ) -> None:
        self._stages = stages
        self._indexes = indexes
        self._progress, self._reject = progress, reject
        self._items: Iterator[Item] = iter(())  # of the newest shard, not yet given to a thread
        self._open: deque[OpenShard] = deque()  # not yet yielded
        self._reading: deque[tuple[OpenShard, Future[StoredPhoto | BadSample]]] = deque()
        self._launched: deque[BatchAtWork] = deque()
        self._coding: deque[BatchAtWork] = deque()
        self._writing: deque[Future[None]] = deque()
        self._retired: deque[BatchAtWork] = deque()  # not yet reported

    def shards(self) -> Iterator[MadeShard]:
        """Make the shards."""
        while True:
            self._read_ahead()
            if self._reading:
                self._launch(self._next_batch())
                yield from self._report(waiting=False)
                continue
            while self._launched:
                self._code(self._launched.popleft())
            while self._coding:
                self._retire(self._coding.popleft())
            if not self._open:
                return
            yield from self._report(waiting=True)

    def end(self) -> None:
        """Stop all work of this run, and remove the files of shards that were not yielded."""
        reading = [future for _, future in self._reading]
        coding = [future for batch in (*self._coding, *self._retired) for future in batch.records]
        making = [batch.made for batch in self._retired if batch.made is not None]
        futures: list[Future[Any]] = [*reading, *coding, *self._writing, *making]
        for future in futures:
            future.cancel()
        wait(futures)
        for batch in (*self._launched, *self._coding):
            if batch.passing is not None:
                with suppress(RuntimeError):  # of a device that has failed
                    batch.passing.result()  # its buffers are free only when the device has done with them
            self._release(batch)
        for shard in self._open:
            shard.file.abandon()

    def _read_ahead(self) -> None:
        """Keep the reading threads busy; opens the next shards if that is allowed."""
        while len(self._reading) < self._stages.ahead:
            item = next(self._items, None)
            if item is not None:
                self._reading.append((self._open[-1], self._stages.readers.submit(self._stages.store, item)))
            elif len(self._open) == OPEN or not self._open_next():
                return

    def _open_next(self) -> bool:
        """Begin with the items of the next shard; return whether there is one."""
        index = next(self._indexes, None)
        if index is None:
            return False
        items = shard_items(self._stages.source, self._stages.identity.samples_per_shard, index)
        self._items = iter(items)
        self._open.append(OpenShard(index, ShardFile(self._stages.folder / shard_name(index)), unread=len(items)))
        return True

    def _next_batch(self) -> BatchAtWork:
        """Collect usable photos until the batch is full or the shard has no more."""
        batch = BatchAtWork(self._reading[0][0])
        while batch.shard.unread and len(batch.photos) < self._stages.batch_size:
            _, future = self._reading[0]
            sample = future.result()
            self._reading.popleft()
            batch.shard.unread -= 1
            batch.count += 1
            if isinstance(sample, BadSample):
                batch.rejected.append(sample)
            else:
                batch.photos.append(sample)
            self._read_ahead()
        batch.last = not batch.shard.unread
        return batch

    def _launch(self, batch: BatchAtWork) -> None:
        """Start the teacher, then see to the batches before, while it works."""
        if batch.photos:
            batch.passing = self._stages.teacher.launch(batch.photos)
        self._launched.append(batch)
        while len(self._launched) > self._stages.teacher.ahead:
            self._code(self._launched.popleft())
        while len(self._coding) > CODING:
            self._retire(self._coding.popleft())

    def _code(self, batch: BatchAtWork) -> None:
        """Wait for the teacher's result and give it to the coding threads."""
        self._coding.append(batch)
        if batch.passing is not None:
            embeddings = batch.passing.result()
            coder = self._stages.coders
            batch.records = [
                coder.submit(self._stages.code, photo, embedding)
                for photo, embedding in zip(batch.photos, embeddings, strict=True)
            ]

    def _retire(self, batch: BatchAtWork) -> None:
        """Wait for the records and give them to the writing thread."""
        shard, writer = batch.shard, self._stages.writer
        self._retired.append(batch)
        for photo, future in zip(batch.photos, batch.records, strict=True):
            try:
                record, facts = future.result()
            except InputError as error:
                batch.rejected.append(BadSample(key=photo.key, where=photo.where, reason=str(error)))
                continue
            self._writing.append(writer.submit(shard.file.add, photo.key, jpeg=photo.jpeg, embedding=record, facts=facts))
        self._release(batch)
        shard.bad += batch.rejected
        batch.photos, batch.records = [], []
        if batch.last:
            batch.made = writer.submit(self._stages.finish, shard)
        while len(self._writing) > 2 * self._stages.batch_size:
            self._writing[0].result()
            self._writing.popleft()

    def _release(self, batch: BatchAtWork) -> None:
        if batch.passing is not None:
            batch.teacher_seconds = batch.passing.seconds
            self._stages.teacher.release(batch.passing)
            batch.passing = None

    def _report(self, *, waiting: bool) -> Iterator[MadeShard]:
        """Report batches in order and yield finished shards; with `waiting`, until one was yielded."""
        while self._retired:
            batch = self._retired[0]
            if batch.count:
                self._tell(batch)
            if batch.made is not None:
                if not (waiting or batch.made.done()):
                    return
                made = batch.made.result()
                self._open.popleft()
                self._retired.popleft()
                yield made
                if waiting:
                    return
            else:
                self._retired.popleft()

    def _tell(self, batch: BatchAtWork) -> None:
        """Call the callbacks for a batch, once."""
        count, batch.count = batch.count, 0
        for sample in batch.rejected:
            if self._reject is not None:
                self._reject(batch.shard.index, sample)
        if self._progress is not None:
            self._progress(Made(index=batch.shard.index, photos=count, teacher_seconds=batch.teacher_seconds))
