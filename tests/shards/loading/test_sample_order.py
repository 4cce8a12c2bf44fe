"""The order of samples: exactly once an epoch, the same for any ranks and workers, mixed well, read in sequence."""

import pickle
from collections import Counter
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.errors import InputError
from shards.loading.sample_order import LANES, SampleOrder, cut_runs, run_length

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=90).filter(any)
FEW_LANES = st.integers(1, 70)


def stream(order, start, stop):
    return order.places(np.arange(start, stop))


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, lanes=FEW_LANES, seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 3))
def test_every_sample_comes_exactly_once_in_every_epoch(counts, lanes, seed, epoch):
    order = SampleOrder(counts, seed=seed, lanes=lanes)
    total = sum(counts)
    places = [place[:2] for place in stream(order, epoch * total, (epoch + 1) * total)]
    assert sorted(places) == [(shard, sample) for shard, count in enumerate(counts) for sample in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    counts=COUNTS,
    lanes=FEW_LANES,
    seed=st.integers(0, 9),
    per_rank=st.integers(1, 4),
    ranks=st.integers(1, 6),
    more=st.integers(1, 4),
    workers=st.integers(1, 5),
    stop=st.integers(0, 40),
)
def test_a_run_stopped_anywhere_and_resumed_on_other_ranks_and_workers_sees_the_undisturbed_order(
    counts, lanes, seed, per_rank, ranks, more, workers, stop
):
    """Up to the stop on `ranks` ranks, then on `ranks * more`; the global batch is the same."""
    batch = per_rank * ranks * more
    total, steps = sum(counts), stop + 2 * workers + 1
    undisturbed = stream(SampleOrder(counts, seed=seed, lanes=lanes), 0, steps * batch)
    seen = []
    for step in range(steps):
        size = ranks if step < stop else ranks * more
        fresh = SampleOrder(counts, seed=seed, lanes=lanes)  # a resumed process knows the step alone
        rows = [fresh.rows(step, batch_size=batch // size, rank=rank, world_size=size) for rank in range(size)]
        assert {len(rank_rows) for rank_rows in rows} == {batch // size}  # equal steps on every rank
        seen += [place for row in zip(*rows, strict=True) for place in row]
    assert seen == undisturbed
    # Worker w of W makes every W-th batch from the step that it resumed at, and they are taken in turn.
    order = SampleOrder(counts, seed=seed, lanes=lanes)
    by_worker = [
        [order.rows(step, batch_size=batch, rank=0, world_size=1) for step in range(stop + worker, steps, workers)]
        for worker in range(workers)
    ]
    taken = [by_worker[number % workers][number // workers] for number in range(steps - stop)]
    assert sum(taken, []) == undisturbed[stop * batch :]
    whole_epochs = Counter(place[:2] for place in undisturbed[: len(undisturbed) // total * total])
    assert set(whole_epochs.values()) <= {len(undisturbed) // total}


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, lanes=FEW_LANES, seed=st.integers(0, 99), epoch=st.integers(0, 2))
def test_a_lane_reads_each_run_forward_with_one_turn_at_most(counts, lanes, seed, epoch):
    order = SampleOrder(counts, seed=seed, lanes=lanes)
    total, length = sum(counts), run_length(np.asarray(counts), lanes=lanes)
    by_run = {}
    for place in stream(order, epoch * total, (epoch + 1) * total):
        by_run.setdefault((place.lane, place.shard, place.sample // length), []).append(place.sample)
    for samples in by_run.values():
        backward = sum(after < before for before, after in zip(samples, samples[1:], strict=False))
        assert backward <= 3  # the turn; where the lane ends inside the run; where it began with it, and ends with it


@settings(max_examples=50, deadline=None)
@given(ranks=st.integers(1, 130), batch=st.integers(1, 9), steps=st.integers(1, 20))
def test_a_rank_keeps_to_its_lanes_whatever_the_batch(ranks, batch, steps):
    order = SampleOrder([7] * 300, seed=1)
    common = gcd(ranks, LANES)
    for rank in {0, ranks // 2, ranks - 1}:
        # An epoch begins anew with lane 0, so the lanes of a rank are its own within an epoch.
        rows = [order.rows(step, batch_size=batch, rank=rank, world_size=ranks) for step in range(steps)]
        within = [place for row in rows for place in row][: 2100 // ranks]
        assert {place.lane % common for place in within} == {rank % common}


def test_runs_never_cross_shards_and_cover_everything():
    assert cut_runs(np.array([5, 0, 3]), length=2).tolist() == [[0, 2], [2, 2], [4, 1], [5, 2], [7, 1]]


def test_runs_are_whole_shards_where_each_lane_gets_one_and_short_in_a_small_cache():
    assert run_length(np.array([300] * 63 + [301]), lanes=64) == 301
    assert run_length(np.array([300] * 63 + [0]), lanes=64) == 300 * 63 // 256
    assert run_length(np.array([3, 2]), lanes=64) == 1


def test_a_batch_may_end_one_epoch_and_begin_the_next():
    """7 samples, batches of 3: the third takes place 6 of epoch 0 and places 0 and 1 of epoch 1, by the module's rule."""
    order = SampleOrder([4, 3], seed=5)
    batches = [order.rows(step, batch_size=3, rank=0, world_size=1) for step in range(7)]
    assert batches[2] == [order(6), order(7), order(8)]
    first, second = sum(batches, [])[:7], sum(batches, [])[7:14]
    everything = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
    assert sorted(place[:2] for place in first) == sorted(place[:2] for place in second) == everything


def test_epochs_and_seeds_differ_and_the_order_is_pinned():
    order = SampleOrder([10, 10, 12], seed=1)
    first, second = (stream(order, 32 * epoch, 32 * (epoch + 1)) for epoch in (0, 1))
    assert first != second and first != stream(SampleOrder([10, 10, 12], seed=2), 0, 32)
    # A change of these breaks the resume of running trainings: raise ORDER_VERSION.
    assert [tuple(place) for place in first[:5]] == [(2, 10, 0), (2, 5, 1), (0, 0, 2), (2, 0, 3), (1, 1, 4)]
    assert [tuple(order(32 * 10**6 + place)) for place in range(2)] == [(0, 5, 0), (1, 7, 1)]
    large = SampleOrder([5] * 70, seed=1)
    assert [tuple(place) for place in stream(large, 100, 104)] == [(65, 2, 36), (28, 2, 37), (19, 2, 38), (31, 1, 39)]


def test_a_small_cache_is_mixed_sample_by_sample():
    order = SampleOrder([32, 32], seed=0)
    half = stream(order, 0, 32)
    assert 8 < sum(place.shard for place in half) < 24
    follows = sum(a.shard == b.shard and b.sample == a.sample + 1 for a, b in zip(half, half[1:], strict=False))
    assert follows < 6


def test_in_a_large_cache_a_lane_goes_through_whole_shards_one_after_the_other_and_a_batch_draws_from_all_lanes():
    shards, each = 1000, 300
    order = SampleOrder([each] * shards, seed=0)
    lane = [order(LANES * element + 5) for element in range(1500)]
    changes = sum(a.shard != b.shard for a, b in zip(lane, lane[1:], strict=False))
    assert changes == len({place.shard for place in lane}) - 1 and changes in (5, 6)  # 1500 samples, 300 a shard
    assert len({place.shard for place in stream(order, 0, LANES)}) > 60


def test_lanes_of_equal_shards_do_not_change_shards_together_nor_pair_the_same_samples_each_epoch():
    shards, each = 128, 64  # two shards a lane, exactly
    order = SampleOrder([each] * shards, seed=0)
    total = shards * each
    epochs = [stream(order, epoch * total, (epoch + 1) * total) for epoch in (0, 1)]
    changes = Counter()
    for lane in range(LANES):
        places = epochs[0][lane::LANES]
        changes.update(i for i, (a, b) in enumerate(zip(places, places[1:], strict=False)) if a.shard != b.shard)
    assert max(changes.values()) <= 2
    together = [{frozenset(p[:2] for p in epoch[i : i + 2]) for i in range(0, total, 2)} for epoch in epochs]
    assert len(together[0] & together[1]) < 8  # pairs in a batch of 2; 4,096 of them


def test_step_a_million_of_11_million_samples_in_100000_shards_needs_little_memory():
    """Times are not asserted; what is kept is: runs and one or two epochs' shuffles, a few MB, and no list of samples."""
    order = SampleOrder([110] * 100_000, seed=3)
    late = order.rows(10**6, batch_size=32, rank=5, world_size=8)
    assert len(late) == 32 and len({place.shard for place in late}) > 4
    assert len(pickle.dumps(order)) < 8e6  # and so it goes to a worker process
    assert pickle.loads(pickle.dumps(order)).rows(10**6, batch_size=32, rank=5, world_size=8) == late


def test_nothing_to_order_and_a_seed_out_of_range_are_refused():
    with pytest.raises(InputError, match="no sample"):
        SampleOrder([0, 0], seed=0)
    with pytest.raises(InputError, match="seed -1"):
        SampleOrder([3], seed=-1)
