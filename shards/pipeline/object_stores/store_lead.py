"""The lead of a precompute whose cache is in an object store."""

import time
from collections.abc import Callable
from contextlib import suppress

from encoders.errors import InputError
from shards.pipeline.lead import CacheLead, PassFacts, ShardNews, finished_elsewhere
from shards.pipeline.object_stores.mirror import Mirror
from shards.pipeline.progress import PrecomputeProgress
from shards.pipeline.quarantine import QUARANTINE_FILE
from shards.pipeline.work_folder import WORK

LOOK_SECONDS = 60.0  # between two looks at what other machines have finished


class StoreLead(CacheLead):
    """Leads a precompute into an object store, see `CacheLead`.

    Args:
        mirror: the cache, and the scratch folder that stands for it.
    """

    def __init__(
        self,
        mirror: Mirror,
        *,
        max_bad_fraction: float,
        progress: Callable[[PrecomputeProgress], None] | None = None,
        rank: int = 0,
        world_size: int = 1,
        processes: int = 1,
    ) -> None:
        super().__init__(
            mirror.folder,
            max_bad_fraction=max_bad_fraction,
            progress=progress,
            rank=rank,
            world_size=world_size,
            processes=processes,
        )
        self.out = mirror.url
        self._mirror = mirror
        self._looked = 0.0

    def begin(self, facts: PassFacts, /) -> list[int]:
        """Return the numbers of the shards of this share that the store lacks; see `CacheLead.begin`."""
        if self._opened is None:
            self._pull(mend=True)
            if not finished_elsewhere(self.folder, facts.identity):
                self._mirror.mark_begun()
        return super().begin(facts)

    def done(self, task: int, news: ShardNews, /) -> None:
        """Count a finished shard, and now and then those of other machines."""
        if self._world_size > 1 and time.monotonic() - self._looked > LOOK_SECONDS:
            self._pull()
            self._begun.board.look_again()
        super().done(task, news)

    def finish(self) -> bool:
        """Complete the cache in the store if all shards are finished; see `CacheLead.finish`."""
        self._pull(mend=True)
        ended = super().finish()
        if not (self.folder / WORK).exists():
            self._mirror.complete()
        return ended

    def finished_elsewhere(self) -> bool:
        """Return whether another process has completed the cache in the store."""
        self._pull()
        return super().finished_elsewhere()

    def __exit__(self, *error: object) -> None:
        if isinstance(error[1], InputError) and (self.folder / QUARANTINE_FILE).is_file():
            with suppress(InputError):  # of a store that does not answer, which may be the error
                self._mirror.push(QUARANTINE_FILE)
        super().__exit__(*error)

    def _pull(self, *, mend: bool = False) -> None:
        self._mirror.pull(mend=mend)
        self._looked = time.monotonic()
