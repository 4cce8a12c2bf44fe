"""Statistics of a cache's channels: by hand, the same from everyone, and refused where they belong to another cache."""

import json
import shutil

import numpy as np
import pytest

import shards
from encoders.errors import InputError
from shards.cache.channels import CHANNELS_FILE, ChannelStatistics, read_channels
from shards.verification import channels
from shards.verification.channels import drawn, measure_channels, write_channels


@pytest.fixture
def copied(cache, tmp_path):
    """A cache of 23 photos, wide and tall, in shards of 5."""
    return shutil.copytree(cache, tmp_path / "cache")


def test_they_are_those_of_the_valid_positions_of_what_training_reads(copied):
    written = write_channels(copied)
    values = []
    for batch in shards.ShardLoader(copied, batch_size=23).batches():
        there = batch.to_device("cpu")
        values = there.teacher.permute(1, 0, 2, 3)[:, there.valid[:, 0]].numpy().astype(np.float64)
        break
    assert written.samples == 23 and written.positions == values.shape[1] < 23 * 64
    np.testing.assert_allclose(written.mean, values.mean(axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(written.std, values.std(axis=1), rtol=1e-4)
    assert read_channels(shards.Manifest.read(copied)) == written


def test_a_second_call_measures_nothing_and_the_bytes_depend_on_the_cache_alone(copied, monkeypatch):
    write_channels(copied)
    content = (copied / CHANNELS_FILE).read_bytes()
    assert measure_channels(shards.Manifest.read(copied)).to_bytes() == content and len(content) < 8000
    monkeypatch.setattr(channels, "measure_channels", lambda manifest: 1 / 0)
    write_channels(copied)


def test_a_cache_without_them_or_with_anothers_says_what_to_do(copied):
    manifest = shards.Manifest.read(copied)
    with pytest.raises(InputError, match=f"has no statistics .*repvit-sam cache stats {copied} --channels"):
        read_channels(manifest)
    facts = json.loads(measure_channels(manifest).to_bytes())
    wrong = ({"manifest_sha256": "0" * 64}, "not "), ({"std": [1.0] * 255}, "cannot be used"), ({"mean": None}, "mean")
    for changed, says in wrong:
        (copied / CHANNELS_FILE).write_text(json.dumps(facts | changed))
        with pytest.raises(InputError, match=f"{says}.*--channels"):
            read_channels(manifest)
    write_channels(copied)  # puts it right
    read_channels(manifest)


def test_the_draw_takes_as_many_from_each_of_a_few_shards(monkeypatch):
    places = drawn([1000, 0] * 50)
    shards_used = {shard for shard, _ in places}
    assert len(shards_used) == 16 and len(places) == len(set(places)) == 16 * 63
    assert places == drawn([1000, 0] * 50) == sorted(places)
    assert drawn([2, 0, 1]) == [(0, 0), (0, 1), (2, 0)] and drawn([0]) == []


def test_a_channel_that_never_changes_is_not_blown_up():
    std = [0.0, *[2.0] * 255]
    found = ChannelStatistics(manifest_sha256="0" * 64, samples=1, positions=1, mean=[0.0] * 256, std=std)
    assert found.usable_std[0] == pytest.approx(0.2, rel=1e-2) and found.usable_std[1] == 2.0
    dead = ChannelStatistics(manifest_sha256="0" * 64, samples=1, positions=1, mean=[0.0] * 256, std=[0.0] * 256)
    assert dead.usable_std == [1.0] * 256


def test_in_an_object_store_they_are_the_same_and_are_read_from_there(copied):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    url = "memory://channels-cache"
    memory.put(f"{copied}/", url, recursive=True)
    try:
        assert write_channels(url).to_bytes() == write_channels(copied).to_bytes()
        assert memory.cat(f"{url}/{CHANNELS_FILE}") == (copied / CHANNELS_FILE).read_bytes()
        assert read_channels(shards.Manifest.read(url)).samples == 23
    finally:
        memory.rm(url, recursive=True)
