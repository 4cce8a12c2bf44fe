"""A worker of a precompute: holds teacher and source, makes shards and publishes them."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from encoders.sam import Sam
from shards.cache.identity import CacheIdentity
from shards.cache.stored_photo import BadSample
from shards.codec.seal import sealed_here
from shards.pipeline.codec_check import check_codec
from shards.pipeline.lead import PassFacts, ShardNews
from shards.pipeline.made_shard import MadeShard
from shards.pipeline.maker import ShardMaker
from shards.pipeline.object_stores.mirror import Mirror
from shards.pipeline.object_stores.store_publishing import StorePublisher
from shards.pipeline.publishing import Publisher
from shards.pipeline.shard_plan import begin
from shards.pipeline.stages import Made
from shards.sources.base import Source


class CacheWorker:
    """Begins a cache, or continues one, and makes the shards that it is told to make; a context manager.

    Args:
        source, teacher: where photos come from, and what embeds them.
        wanted: identity of the cache.
        folder: the cache; or the scratch folder of `mirror`.
        batch_size, decode_workers, codec_gate: see `shards.precompute`.
        mirror: of a cache in an object store.

    Attributes:
        facts: for the lead.

    Raises:
        InputError: the codec misses its gate, or the folder holds another cache.
    """

    def __init__(
        self,
        source: Source,
        *,
        teacher: Sam,
        wanted: CacheIdentity,
        folder: Path,
        batch_size: int,
        decode_workers: int | None = None,
        codec_gate: bool = True,
        mirror: Mirror | None = None,
    ) -> None:
        if mirror is not None:
            mirror.pull_identity()
        if codec_gate and CacheIdentity.read(folder) is None:
            check_codec(source, teacher=teacher, codec=wanted.codec)
        identity = begin(folder, wanted) if mirror is None else mirror.begin(wanted)
        self.facts = PassFacts(identity=identity, photos=len(source.items()), views=source.views)
        self._publisher = Publisher(folder) if mirror is None else StorePublisher(mirror)
        self._maker = ShardMaker(
            source,
            teacher=teacher,
            identity=identity,
            folder=folder,
            batch_size=batch_size,
            decode_workers=decode_workers,
            sealed=sealed_here(folder) if mirror is None else mirror.sealed(),
        )

    def run(
        self,
        tasks: Iterator[int],
        /,
        *,
        count: Callable[[Made], None] | None = None,
        reject: Callable[[int, BadSample], None] | None = None,
        batch_done: Callable[[], None] | None = None,
    ) -> Iterator[tuple[int, ShardNews]]:
        """Make and publish shards; yield the number of each, with news for the lead.

        Args:
            tasks: numbers of shards, pulled at most two ahead.
            count, reject: of a lead in this process, called after every batch and for every bad photo; without `count` the
                news hold what it would have been told.
            batch_done: called after every batch of which `count` is not told.

        Raises:
            FileNotFoundError: the work folder is gone, because another process has finished the cache.
        """
        photos: Counter[int] = Counter()
        seconds: dict[int, float] = {}

        def note(batch: Made) -> None:
            photos[batch.index] += batch.photos
            seconds[batch.index] = seconds.get(batch.index, 0.0) + batch.teacher_seconds
            if batch_done is not None:
                batch_done()

        for made, published in self._published(self._maker.make(tasks, progress=count or note, reject=reject)):
            yield (
                made.index,
                ShardNews(
                    published=published,
                    quarantined=made.entry.quarantined,
                    photos=photos.pop(made.index, 0),
                    teacher_seconds=seconds.pop(made.index, 0.0),
                ),
            )

    def _published(self, shards: Iterator[MadeShard]) -> Iterator[tuple[MadeShard, bool]]:
        """Publish shards; a store gets one while the next is made."""
        if isinstance(self._publisher, Publisher):
            for made in shards:
                yield made, self._publisher.publish(made)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="upload") as uploader:
            uploading: tuple[MadeShard, Future[bool]] | None = None
            for made in shards:
                before, uploading = uploading, (made, uploader.submit(self._publisher.publish, made))
                if before is not None:
                    yield before[0], before[1].result()
            if uploading is not None:
                yield uploading[0], uploading[1].result()

    def __enter__(self) -> "CacheWorker":
        return self

    def __exit__(self, *error: object) -> None:
        self._maker.close()
