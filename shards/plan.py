"""The order of samples in training: arithmetic on the manifest's counts, so any step can be computed alone.

An epoch's order is a pure function of (samples per shard, seed, epoch):
1. Shards are cut into runs of consecutive samples: whole shards where there are many, shorter runs in a small cache, so
   that it is mixed well too (`run_length`). The runs are shuffled and laid end to end.
2. That sequence is cut into LANES equal lanes; place p of the epoch is element p // LANES of lane p % LANES. A batch
   thus draws from many shards, while each lane goes through its shards one after the other.
3. Within a lane, windows of WINDOW samples are shuffled: reads stay near each other, order does not.

Epochs are laid end to end without a seam: batch t takes places t*G .. (t+1)*G of the endless sequence. Nothing is
dropped or repeated, each sample comes exactly once in each epoch, every rank has the same number of steps, and a batch
may end one epoch and begin the next. Rank r of R holds rows r*G/R .. (r+1)*G/R of each batch, so neither ranks nor
workers change the order, and the global step is all there is to remember.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from encoders.errors import InputError

ORDER_VERSION = 1  # changes with anything below that changes the order
LANES = 64
WINDOW = 128
RUNS_PER_LANE = 4
SEED_LIMIT = 2**32

Place = tuple[int, int]  # shard number, sample within it


class SampleOrder:
    """Where the sample of each place of the endless sequence lies.

    Args:
        counts: samples of each shard, in manifest order.
        seed: of the shuffles, 0 <= seed < 2**32.

    Raises:
        InputError: there is no sample, or the seed is out of range.
    """

    def __init__(self, counts: Sequence[int], *, seed: int) -> None:
        if not 0 <= seed < SEED_LIMIT:
            raise InputError(f"seed {seed} is out of range; expected 0 to {SEED_LIMIT - 1}")
        self.counts = np.asarray(counts, np.int64)
        self.seed = seed
        self.samples = int(self.counts.sum())
        if not self.samples:
            raise InputError("the cache holds no sample")
        self._starts = np.concatenate([[0], np.cumsum(self.counts)])
        self._runs = cut_runs(self.counts, length=run_length(self.samples))
        self._epoch = lru_cache(maxsize=2)(self._shuffled_runs)
        self._window = lru_cache(maxsize=4 * LANES)(self._shuffled_window)

    def __call__(self, index: int) -> Place:
        """Place `index` of the endless sequence -> (shard number, sample within it)."""
        epoch, place = divmod(index, self.samples)
        lane, element = place % LANES, place // LANES
        window, inside = divmod(element, WINDOW)
        position = lane_start(lane, self.samples) + window * WINDOW + int(self._window(epoch, lane, window)[inside])
        runs, ends = self._epoch(epoch)
        run = int(np.searchsorted(ends, position, side="right"))
        first, length = self._runs[runs[run]]
        sample = int(first + position - (ends[run] - length))
        shard = int(np.searchsorted(self._starts, sample, side="right")) - 1
        return shard, sample - int(self._starts[shard])

    def rows(self, step: int, *, batch_size: int, rank: int, world_size: int) -> list[Place]:
        """What rank `rank` holds of global batch `step`; `batch_size` is one rank's."""
        first = (step * world_size + rank) * batch_size
        return [self(index) for index in range(first, first + batch_size)]

    def _shuffled_runs(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Run numbers in this epoch's order, and where each ends in the laid-out sequence."""
        order = shuffled(len(self._runs), self.seed, epoch)
        return order, np.cumsum(self._runs[order, 1])

    def _shuffled_window(self, epoch: int, lane: int, window: int) -> np.ndarray:
        length = lane_start(lane + 1, self.samples) - lane_start(lane, self.samples)
        return shuffled(min(WINDOW, length - window * WINDOW), self.seed, epoch, lane, window)


def run_length(samples: int) -> int:
    """Samples of a run: short enough that each lane gets RUNS_PER_LANE of them; a shard's end ends it in any case."""
    return max(1, samples // (LANES * RUNS_PER_LANE))


def cut_runs(counts: np.ndarray, *, length: int) -> np.ndarray:
    """(R, 2) int64, first sample and number of samples of each run, `length` at most, none across two shards."""
    runs = []
    start = 0
    for count in counts.tolist():
        runs += [(start + first, min(length, count - first)) for first in range(0, count, length)]
        start += count
    return np.asarray(runs, np.int64).reshape(-1, 2)


def lane_start(lane: int, samples: int) -> int:
    """Where a lane begins: the first samples % LANES lanes have one sample more."""
    return lane * (samples // LANES) + min(lane, samples % LANES)


def shuffled(count: int, *words: int) -> np.ndarray:
    """A permutation of 0 .. count - 1 that depends on the words alone. numpy keeps RandomState's stream (NEP 19)."""
    if count < 2:
        return np.zeros(count, np.int64)
    return np.random.RandomState([word % SEED_LIMIT for word in words]).permutation(count)
