"""BatchNorm statistics from the photos of a cache."""

import itertools

import pytest
import torch

import encoders
from distill.jobs.precise_bn import precise_from_cache
from encoders.errors import InputError
from encoders.precise_batchnorm import precise_batchnorm
from shards.loading.loader import ShardLoader


@pytest.fixture
def sam():
    torch.manual_seed(0)
    return encoders.build_sam("repvit_m0_6", image_size=64)


def test_statistics_are_those_of_the_caches_normalised_photos(sam, tiny_cache):
    loader = ShardLoader(tiny_cache, batch_size=4, seed=3)
    images = [batch.to_device("cpu").image for batch, _ in zip(loader.batches(), range(2), strict=False)]
    expected = precise_batchnorm(sam, images).state_dict()
    for photos, equal in ((11, True), (4, False)):  # two whole batches of 11, one of 4
        given = precise_from_cache(sam, tiny_cache, photos=photos, batch_size=4, seed=3).state_dict()
        assert all(torch.allclose(given[key], expected[key]) for key in expected) is equal


def test_a_small_cache_gives_its_whole_batches_once(sam, tiny_cache):
    some = precise_from_cache(sam, tiny_cache, photos=12, batch_size=4).state_dict()
    every = precise_from_cache(sam, tiny_cache, batch_size=4).state_dict()  # of 14
    assert all(torch.equal(some[key], every[key]) for key in some)


def test_progress_is_reported_on_stderr(sam, tiny_cache, capsys, monkeypatch):
    precise_from_cache(sam, tiny_cache, photos=11, batch_size=4)
    assert capsys.readouterr().err.endswith("BatchNorm statistics: photo 8/8\n")
    monkeypatch.setattr("time.monotonic", itertools.count(step=10).__next__)
    precise_from_cache(sam, tiny_cache, photos=12, batch_size=4)
    out, err = capsys.readouterr()
    assert out == "" and [line.rsplit(" ")[-1] for line in err.splitlines()] == ["4/12", "8/12", "12/12"]


def test_a_cache_of_another_size_and_too_few_photos_are_refused(tiny_cache, sam):
    with pytest.raises(InputError, match="64 px, but the model takes 128"):
        precise_from_cache(encoders.build_sam("repvit_m0_6", image_size=128), tiny_cache)
    with pytest.raises(InputError, match="3 photos are fewer than one batch of 4"):
        precise_from_cache(sam, tiny_cache, photos=3, batch_size=4)
    with pytest.raises(InputError, match="smaller batch"):
        precise_from_cache(sam, tiny_cache, batch_size=100, photos=200)
