"""The order of samples: exactly once an epoch, the same for any ranks, mixed well, read in sequence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.errors import InputError
from shards.plan import LANES, SampleOrder, cut_runs, lane_start, run_length

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=20).filter(any)


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 3))
def test_every_sample_comes_exactly_once_in_every_epoch(counts, seed, epoch):
    order = SampleOrder(counts, seed=seed)
    total = sum(counts)
    places = [order(index) for index in range(epoch * total, (epoch + 1) * total)]
    assert sorted(places) == [(shard, place) for shard, count in enumerate(counts) for place in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    counts=COUNTS,
    seed=st.integers(0, 9),
    per_rank=st.integers(1, 4),
    world_size=st.integers(1, 6),
    start=st.integers(0, 500),
    split=st.sampled_from([1, 2, 3]),
)
def test_a_global_batch_does_not_depend_on_ranks_or_on_where_training_resumed(
    counts, seed, per_rank, world_size, start, split
):
    batch = per_rank * world_size * split
    whole = SampleOrder(counts, seed=seed).rows(start, batch_size=batch, rank=0, world_size=1)
    for ranks in (world_size, world_size * split):
        fresh = SampleOrder(counts, seed=seed)
        parts = [fresh.rows(start, batch_size=batch // ranks, rank=r, world_size=ranks) for r in range(ranks)]
        assert sum(parts, []) == whole
    assert whole == [SampleOrder(counts, seed=seed)(index) for index in range(start * batch, (start + 1) * batch)]


@given(st.integers(1, 10**9))
def test_lanes_are_equal_to_within_one_sample(samples):
    lengths = [lane_start(lane + 1, samples) - lane_start(lane, samples) for lane in range(LANES)]
    assert sum(lengths) == samples and max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


def test_runs_never_cross_shards_and_cover_everything():
    assert cut_runs(np.array([5, 0, 3]), length=2).tolist() == [[0, 2], [2, 2], [4, 1], [5, 2], [7, 1]]


def test_epochs_and_seeds_differ_and_the_order_is_pinned():
    order = SampleOrder([10, 10, 12], seed=1)
    first, second = ([order(index) for index in range(32 * e, 32 * (e + 1))] for e in (0, 1))
    other = [SampleOrder([10, 10, 12], seed=2)(index) for index in range(32)]
    assert first != second and first != other
    # A change of these breaks the resume of running trainings: raise ORDER_VERSION.
    assert first[:6] == [(2, 10), (2, 5), (0, 0), (2, 0), (1, 1), (1, 9)]


def test_a_small_cache_is_mixed_sample_by_sample():
    order = SampleOrder([32, 32], seed=0)
    half = [order(index) for index in range(32)]
    assert 8 < sum(shard for shard, _ in half) < 24
    follows = sum(a[0] == b[0] and b[1] == a[1] + 1 for a, b in zip(half, half[1:], strict=False))
    assert follows < 6


def test_in_a_large_cache_a_lane_goes_through_whole_shards_and_a_batch_draws_from_many():
    shards, each = 1000, 300
    order = SampleOrder([each] * shards, seed=0)
    assert run_length(shards * each) >= each
    lane = [order(LANES * element + 5)[0] for element in range(1500)]
    changes = sum(a != b for a, b in zip(lane, lane[1:], strict=False))
    assert len(set(lane)) <= 7  # 1500 samples of 300 a shard, read one shard after the other
    assert changes < 400  # the window of 128 mixes the end of one with the beginning of the next
    assert len({order(index)[0] for index in range(LANES)}) > 55


def test_nothing_to_order_and_a_seed_out_of_range_are_refused():
    with pytest.raises(InputError, match="no sample"):
        SampleOrder([0, 0], seed=0)
    with pytest.raises(InputError, match="seed -1"):
        SampleOrder([3], seed=-1)
