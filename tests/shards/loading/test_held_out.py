"""Photos that are kept out of training: which they are, that no batch holds them, and that a run can go on."""

from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

import shards
from encoders.errors import InputError
from shards.cache.key_list import KeyList
from shards.loading.held_out import HeldOut, HeldOutShare, photo_hashes, photo_of
from shards.loading.sample_order import SamplePosition
from shards.sources.views import view_key

RULE = HeldOutShare(0.3, 1)


def manifest_of(*shards_: list[str]) -> SimpleNamespace:
    return SimpleNamespace(folder="cache", entries=[SimpleNamespace(keys=KeyList(keys)) for keys in shards_])


def held_keys(manifest, held: HeldOut) -> set[str]:
    return {entry.keys[number] for shard, entry in enumerate(manifest.entries) for number in held.numbers(shard).tolist()}


def test_all_views_of_a_photo_are_held_out_together_in_whatever_shard_they_are():
    photos = [f"photo-{number}" for number in range(2000)] + ["x" * 80, "y" * 78]  # cut for the suffix of a view
    keys = [view_key(photo, view) for photo in photos for view in range(12)]
    one, two = manifest_of(keys), manifest_of(keys[:7], keys[7:11111], [], keys[11111:])
    held = held_keys(one, HeldOut(one, RULE))
    assert held == held_keys(two, HeldOut(two, RULE))
    assert len(held) / len(keys) == pytest.approx(0.3, abs=0.03)
    for photo in photos[::50] + photos[-2:]:
        assert sum(view_key(photo, view) in held for view in range(12)) in (0, 12)


def test_a_share_does_not_depend_on_how_keys_are_numbered_nor_the_seed_on_another():
    keys = [f"sa_{number}" for number in range(100_000)]
    first, second = (photo_hashes(keys, seed=seed) < 2**32 // 100 for seed in (0, 1))
    assert first.mean() == pytest.approx(0.01, rel=0.15) and second.mean() == pytest.approx(0.01, rel=0.15)
    assert (first & second).sum() < 40  # 10 where the two are independent
    assert [part.mean() for part in np.split(first, 10)] == pytest.approx([0.01] * 10, abs=0.004)


def test_a_key_without_a_view_is_its_own_photos():
    assert [photo_of(key) for key in ("a-v3", "a-v3-v0", "a-value", "-v1", "sa_12")] == ["a", "a-v3", "a-value", "", "sa_12"]


def test_at_least_one_photo_is_held_out_and_one_is_left():
    few = manifest_of(["a-v0", "a-v1"], ["b-v0", "b-v1", "c-v0", "c-v1"])
    held = HeldOut(few, HeldOutShare(1e-9, 0))
    assert len(held) == 2 and len({photo_of(key) for key in held_keys(few, held)}) == 1
    with pytest.raises(InputError, match="holding out a share of 0.5 leaves no photo of cache to train on"):
        HeldOut(manifest_of(["a-v0", "a-v1"]), HeldOutShare(0.5, 0))


def test_the_kept_samples_of_a_shard_are_numbered_around_the_held_out_ones():
    manifest = manifest_of([f"p{number}" for number in range(200)], [], [f"q{number}" for number in range(150)])
    held = HeldOut(manifest, HeldOutShare(0.4, 3))
    for shard, entry in enumerate(manifest.entries):
        left = sorted(set(range(len(entry.keys))) - set(held.numbers(shard).tolist()))
        assert held.kept_counts[shard] == len(left)
        assert [held.kept(SamplePosition(shard, number, 5)) for number in range(len(left))] == [(shard, n, 5) for n in left]


def test_no_batch_holds_them_and_the_rest_comes_once_an_epoch_on_any_number_of_ranks(cache):
    loader = shards.ShardLoader(cache, batch_size=4, seed=3, held_out=RULE)
    held = held_keys(loader.manifest, loader.held_out)
    assert 3 <= len(held) <= 12 and loader.samples == 23 - len(held)
    stream = sum((batch.keys for batch in islice(loader.batches(), loader.samples)), [])
    for epoch in range(4):
        part = stream[loader.samples * epoch : loader.samples * (epoch + 1)]
        assert sorted(part) == sorted({f"sa_{number}" for number in range(23)} - held)
    halves = [shards.ShardLoader(cache, batch_size=2, rank=r, world_size=2, seed=3, held_out=RULE) for r in (0, 1)]
    assert sum(zip(*(half.keys(5) for half in halves), strict=True), ()) == tuple(loader.keys(5))
    assert next(loader.batches(7)).keys == stream[28:32]


def test_too_few_photos_for_a_batch_are_said_to_be_held_out(cache):
    with pytest.raises(InputError, match=r"holds \d+ samples, \d+ more are held out, fewer than one global batch of 22"):
        shards.ShardLoader(cache, batch_size=22, held_out=RULE)
