"""The one process that knows how far a precompute is: it says which shards are missing, counts, and completes the cache."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from encoders.locks import held
from shards.cache.identity import CacheIdentity
from shards.cache.manifest import read_entries
from shards.cache.stored_photo import BadSample
from shards.pipeline.merge import merge
from shards.pipeline.progress import PrecomputeProgress, Tracker
from shards.pipeline.quarantine import Quarantine
from shards.pipeline.shard_plan import clear_leftovers, finished, photos_in, shard_name
from shards.pipeline.stages import Made
from shards.pipeline.work_folder import WORK, Board

LEFTOVER_SECONDS = 3600.0  # silence after which a temporary file counts as left behind, where other ranks may be at work


@dataclass(frozen=True, kw_only=True)
class PassFacts:
    """What the lead learns from a worker that has opened teacher and source.

    Attributes:
        identity: of the cache that is made.
        photos: number of photos of the source, good and bad, times `views`.
        views: number of views of each photo.
    """

    identity: CacheIdentity
    photos: int
    views: int


@dataclass(frozen=True, kw_only=True)
class ShardNews:
    """What the lead is told of a shard that a worker has made.

    Attributes:
        published: whether it is in the cache; False if another process had made one meanwhile.
        quarantined: photos left out of it.
        photos, teacher_seconds: photos, good and bad, and time in the teacher, as far as `CacheLead.count` was not told.
    """

    published: bool
    quarantined: Sequence[Mapping[str, str]]
    photos: int = 0
    teacher_seconds: float = 0.0


class CacheLead:
    """Leads a precompute into a folder; a context manager.

    A call that works alone locks the folder against others of this machine. Ranks of a group, each of which leads its own
    share, do not: they see each other's shards in the work folder, and whoever finds all of them finished completes the cache.

    Args:
        folder: the cache, begun by a worker.
        max_bad_fraction: see `shards.precompute`.
        progress: called after every shard, and by `count` after every batch.
        rank, world_size: of the group; a share is the shards whose number is `rank` modulo `world_size`.
        processes: number of workers that this process leads, if it is known before `staffed` is called.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bad_fraction: float,
        progress: Callable[[PrecomputeProgress], None] | None = None,
        rank: int = 0,
        world_size: int = 1,
        processes: int = 1,
    ) -> None:
        self.folder = folder
        self.out: Path | str = folder  # the cache, where a subclass keeps it elsewhere
        self.made = 0  # shards
        self._max_bad_fraction, self._callback, self._processes = max_bad_fraction, progress, processes
        self._rank, self._world_size = rank, world_size
        self._stack = ExitStack()
        self._opened: _Opened | None = None

    def begin(self, facts: PassFacts, /) -> list[int]:
        """Return the numbers of the shards of this share that are missing.

        Raises:
            InputError: another call on this machine is at work in the folder, or too many photos are bad.
            FileNotFoundError: another process has finished the cache.
        """
        if self._opened is None:
            self._opened = self._open(facts)
        return [index for index in self._opened.board.missing() if index % self._world_size == self._rank]

    def name(self, task: int, /) -> str:
        """Return what people call a task."""
        return f"shard {shard_name(task)} of {self.folder}"

    def reject(self, index: int, sample: BadSample) -> None:
        """Count a bad photo of the shard that a worker in this process is making. Raises InputError for too many."""
        here = self._begun
        here.turn_to(index)
        here.quarantine.add(sample)

    def count(self, batch: Made) -> None:
        """Count a batch of a worker in this process."""
        here = self._begun
        here.turn_to(batch.index)
        here.tracker.state.teacher_seconds += batch.teacher_seconds
        here.tracker.add_photos(photos=batch.photos, quarantined=here.quarantine.count)

    def done(self, task: int, news: ShardNews, /) -> None:
        """Count a finished shard. Raises InputError if too many photos are bad."""
        here = self._begun
        here.board.done.add(task)
        if news.published:
            self.made += 1
            here.board.known.add(task)
            here.quarantine.finished(shard_name(task), news.quarantined)
        here.tracker.state.photos_made += news.photos
        here.tracker.state.teacher_seconds += news.teacher_seconds
        here.count_others()
        here.tracker.shard_finished(write=self._rank == 0)
        here.quarantine.check()

    def staffed(self, workers: int, /) -> None:
        """Note how many workers are at work; the most of them at a time count."""
        state = self._begun.tracker.state
        state.processes = max(state.processes, workers)

    def finish(self) -> bool:
        """Complete the cache if all shards are finished; return False if shards of this share have to be made again.

        Raises:
            InputError: too many photos are bad, none is usable, or a key occurs twice.
            FileNotFoundError: another process has finished the cache.
        """
        here = self._begun
        here.board.look_again()
        here.count_others()
        if here.board.missing():
            return True  # those of other ranks
        missing = merge(self.folder, identity=here.facts.identity, quarantine=here.quarantine)
        if not missing:
            here.tracker.all_finished()
            return True
        here.board.reopen(missing)
        return not any(index % self._world_size == self._rank for index in missing)

    def finished_elsewhere(self) -> bool:
        """Return whether another process has completed the cache; asked when the work folder has vanished."""
        identity = CacheIdentity.read(self.folder)
        return identity is not None and finished_elsewhere(self.folder, identity)

    @property
    def teacher_seconds(self) -> float:
        """Time that the teacher took in this call, in all workers together."""
        return 0.0 if self._opened is None else self._opened.tracker.state.teacher_seconds

    def __enter__(self) -> "CacheLead":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def _begun(self) -> "_Opened":
        if self._opened is None:
            raise RuntimeError("begin() comes before anything is counted")
        return self._opened

    def _open(self, facts: PassFacts) -> "_Opened":
        alone = self._world_size == 1
        if alone:
            self._stack.enter_context(held(self.folder / WORK / "lock", use="makes shards"))
        board = Board(self.folder, shards=facts.identity.shards)
        clear_leftovers(self.folder, before=float("inf") if alone else time.time() - LEFTOVER_SECONDS)
        quarantine = Quarantine(
            self.folder,
            total=facts.photos,
            max_bad_fraction=self._max_bad_fraction,
            noun="photos" if facts.views == 1 else "samples",
        )
        state = PrecomputeProgress(
            photos=0,
            photos_total=facts.photos,
            views=facts.views,
            quarantined=0,
            shards=0,
            shards_total=facts.identity.shards,
            processes=self._processes,
        )
        opened = _Opened(facts, board, quarantine, Tracker(self.folder, state=state, callback=self._callback))
        opened.count_others()
        quarantine.check()
        return opened


@dataclass
class _Opened:
    """What a lead knows once the cache is begun."""

    facts: PassFacts
    board: Board
    quarantine: Quarantine
    tracker: Tracker
    making: int | None = None  # the shard whose batches a worker in this process reports

    def turn_to(self, index: int) -> None:
        """Count bad photos for shard `index` from now on."""
        if self.making != index:
            self.making = index
            self.quarantine.begin(shard_name(index))

    def count_others(self) -> None:
        """Count the shards that other processes have finished."""
        for index, bad in self.board.news():
            self.quarantine.finished(shard_name(index), bad)
        known = self.board.known
        photos = photos_in(known, total=self.facts.photos, identity=self.facts.identity)
        self.tracker.set_totals(photos=photos, shards=len(known), quarantined=self.quarantine.count)


def finished_elsewhere(folder: Path, identity: CacheIdentity) -> bool:
    """Return whether the cache is complete; asked by a process whose work folder has vanished."""
    return len(finished(folder, read_entries(folder))) >= identity.shards
