"""The order of samples in training, computed from the manifest's counts so that any step can be computed directly.

An epoch's order is a pure function of (samples per shard, seed, epoch):
1. Shards are cut into runs of consecutive samples: whole shards where there are at least as many as lanes, shorter runs
   in a smaller cache, so that it is mixed well too (`run_length`). The runs are shuffled and laid end to end.
2. That sequence is cut into equal lanes, LANES of them; place p of the epoch is in lane p % LANES. A batch thus draws
   from many shards, while each lane goes through its shards one after the other.
3. A run is read from a random sample of it to its end and then from its beginning: each shard in sequence, and lanes
   of equal shards are not paired the same way in every epoch. A lane begins its part of the sequence LANE/LANES of a
   run late and reads what it left out at the end, so that lanes do not all go to their next shard at once.

Epochs are laid end to end without a seam: batch t takes places t*G .. (t+1)*G - 1 of the endless sequence, place p
being place p % N of epoch p // N for N samples. Nothing is dropped or repeated: places e*N .. (e+1)*N - 1 are every
sample exactly once, every rank has the same number of steps, and a batch may end one epoch and begin the next (it may
then hold a sample twice).

Rank r of R holds the places p of each batch with p % R == r. Neither ranks nor workers change the order, and the global
step is the only state. As R divides G, a rank keeps to the same LANES / gcd(R, LANES) lanes through an epoch,
whatever G is: where R divides LANES, each shard is read by one rank.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from encoders.errors import InputError

ORDER_VERSION = 2  # increase on any change below that changes the order
LANES = 64
RUNS_PER_LANE = 4  # in a cache of fewer shards than lanes
SEED_LIMIT = 2**32


class SamplePosition(NamedTuple):
    """Position of a sample in the cache: shard number and sample within it, both from 0, and the lane that reads it."""

    shard: int
    sample: int
    lane: int


Shuffle = tuple[np.ndarray, np.ndarray, np.ndarray]


class SampleOrder:
    """Maps each place of the endless training sequence to a sample's position in the cache.

    Args:
        counts: samples of each shard, in manifest order.
        seed: seed of the shuffles, 0 <= seed < 2**32.
        lanes: number of shards read side by side; the order depends on it.

    Raises:
        InputError: there is no sample, or the seed is out of range.
    """

    def __init__(self, counts: Sequence[int], *, seed: int, lanes: int = LANES) -> None:
        if not 0 <= seed < SEED_LIMIT:
            raise InputError(f"seed {seed} is out of range; expected 0 to {SEED_LIMIT - 1}")
        numbers = np.asarray(counts, np.int64)
        self.seed = seed
        self.lanes = lanes
        self.samples = int(numbers.sum())
        if not self.samples:
            raise InputError("the cache holds no sample")
        self._starts = np.cumsum(numbers) - numbers
        self._runs = cut_runs(numbers, length=run_length(numbers, lanes=lanes))
        self._epochs: dict[int, Shuffle] = {}

    def __call__(self, index: int) -> SamplePosition:
        """Return the position of the sample at place `index` of the endless sequence."""
        return self.places(np.asarray([index]))[0]

    def places(self, indices: np.ndarray) -> list[SamplePosition]:
        """Return the positions of the samples at these places, (n,) int64, of the endless sequence."""
        epochs, places = np.divmod(indices, self.samples)
        lanes, elements = places % self.lanes, places // self.lanes
        begin, length = self._lane_span(lanes)
        positions = begin + (elements + self._lag(lanes)) % np.maximum(length, 1)
        samples = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            samples[here] = self._sample_numbers(positions[here], epoch=int(epoch))
        shards = np.searchsorted(self._starts, samples, side="right") - 1
        inside = samples - self._starts[shards]
        return [SamplePosition(*row) for row in zip(shards.tolist(), inside.tolist(), lanes.tolist(), strict=True)]

    def rows(self, step: int, *, batch_size: int, rank: int, world_size: int) -> list[SamplePosition]:
        """Return the positions of one rank's rows of global batch `step`; `batch_size` is per rank."""
        first = step * world_size * batch_size
        return self.places(first + rank + world_size * np.arange(batch_size, dtype=np.int64))

    def _sample_numbers(self, positions: np.ndarray, *, epoch: int) -> np.ndarray:
        """Map positions in an epoch's laid-out sequence to sample numbers, counted over all shards."""
        if epoch not in self._epochs:  # kept for this epoch and the one before, as batches go from one to the next
            self._epochs = {epoch: self._shuffled_runs(epoch)} | dict(list(self._epochs.items())[:1])
        order, ends, starts = self._epochs[epoch]
        places = np.searchsorted(ends, positions, side="right")
        first, length = self._runs[order[places]].T
        begin = ends[places] - length
        return first + (positions - begin + starts[places]) % length

    def _shuffled_runs(self, epoch: int) -> Shuffle:
        """Return the epoch's shuffled run numbers, the end of each run in the sequence, and the first sample of each."""
        # numpy keeps the stream of RandomState (NEP 19), so the order is the same in every release.
        random = np.random.RandomState([self.seed, epoch % SEED_LIMIT])
        order = random.permutation(len(self._runs))
        lengths = self._runs[order, 1]
        return order, np.cumsum(lengths), (random.random_sample(len(order)) * lengths).astype(np.int64)

    def _lane_span(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the start and length of lanes; the first samples % LANES lanes have one sample more."""
        each, more = divmod(self.samples, self.lanes)
        return lanes * each + np.minimum(lanes, more), each + (lanes < more)

    def _lag(self, lanes: np.ndarray) -> np.ndarray:
        """Return how many samples later than lane 0 a lane begins in its part of the sequence."""
        return lanes * int(self._runs[:, 1].max()) // self.lanes


def run_length(counts: np.ndarray, *, lanes: int) -> int:
    """Return the length of a run: that of the longest shard if every lane gets one, else for RUNS_PER_LANE runs per lane."""
    if np.count_nonzero(counts) >= lanes:
        return int(counts.max())
    return max(1, int(counts.sum()) // (lanes * RUNS_PER_LANE))


def cut_runs(counts: np.ndarray, *, length: int) -> np.ndarray:
    """Return the runs, (R, 2) int64: first sample and length, at most `length`; no run spans two shards."""
    runs = []
    start = 0
    for count in counts.tolist():
        runs += [(start + first, min(length, count - first)) for first in range(0, count, length)]
        start += count
    return np.asarray(runs, np.int64).reshape(-1, 2)
