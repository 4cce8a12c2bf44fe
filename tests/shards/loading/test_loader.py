"""Batches for training: their order, their content, and what happens when a shard is not what it was."""

import json
import pickle
import shutil
from itertools import islice

import numpy as np
import pytest
import torch

import shards
from encoders.errors import InputError
from encoders.geometry import resized_shape
from encoders.preprocess import normalize_padded
from tests.shards.helpers import standin
from tests.shards.helpers.damage import unsealed
from tests.shards.helpers.photos import make_photo


def keys(loader, start, steps):
    return [batch.keys for batch in islice(loader.batches(start), steps)]


def test_every_sample_comes_once_an_epoch_and_every_rank_has_the_same_steps(cache):
    loader = shards.ShardLoader(cache, batch_size=4, seed=3)
    assert loader.samples == 23 and loader.steps_per_epoch == 6
    stream = sum(keys(loader, 0, 23), [])  # 23 batches of 4 are 4 epochs of 23
    for epoch in range(4):
        assert sorted(stream[23 * epoch : 23 * (epoch + 1)]) == sorted(f"sa_{n}" for n in range(23))
    ranks = [shards.ShardLoader(cache, batch_size=2, rank=r, world_size=2, seed=3) for r in (0, 1)]
    assert {rank.steps_per_epoch for rank in ranks} == {6}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_two_ranks_of_4_see_the_global_batches_of_one_rank_of_8_from_any_step_on(cache, num_workers):
    whole = shards.ShardLoader(cache, batch_size=8, seed=1)
    undisturbed = keys(whole, 0, 9)
    halves = [
        shards.ShardLoader(cache, batch_size=4, rank=r, world_size=2, seed=1, num_workers=num_workers) for r in (0, 1)
    ]
    for start in (0, 4):
        parts = [keys(half, start, 5) for half in halves]
        interleaved = [[key for row in zip(a, b, strict=True) for key in row] for a, b in zip(*parts, strict=True)]
        assert interleaved == undisturbed[start : start + 5]
    assert whole.keys(4) == undisturbed[4]


def test_a_loader_can_be_handed_to_a_spawned_process(cache):
    loader = shards.ShardLoader(cache, batch_size=4, seed=3)
    assert keys(pickle.loads(pickle.dumps(loader)), 2, 3) == keys(loader, 2, 3)


def test_shards_are_opened_once_a_lane_and_each_sample_takes_one_read(cache):
    manifest = shards.Manifest.read(cache)
    reader = shards.ShardReader(manifest)
    for sample in range(5):
        reader.read(1, sample, 7)
    assert (reader.opens, reader.reads) == (1, 5)
    assert 0.8 * manifest.entries[1].bytes < reader.bytes_read < manifest.entries[1].bytes
    reader.read(2, 0, 7)  # the lane goes on; its last shard is closed, another lane's is not
    reader.read(1, 0, 8)
    reader.read(1, 1, 8)
    assert reader.opens == 3
    reader.close()


def test_a_batch_holds_stored_pixels_and_the_device_gets_the_teachers_view(cache):
    batch = next(shards.ShardLoader(cache, batch_size=6, seed=0).batches(2))
    assert batch.pixels.shape == (6, 3, 128, 128) and batch.pixels.dtype == torch.uint8
    assert batch.codes.shape == (6, 256, 8, 8) and batch.codes.dtype == torch.int8
    numbers = [int(key.removeprefix("sa_")) for key in batch.keys]
    assert batch.shapes == [resized_shape(make_photo(n).shape[:2], image_size=128) for n in numbers]
    device = batch.to_device("cpu")
    assert torch.equal(device.image, normalize_padded(batch.pixels, batch.shapes))
    for row, (height, width) in enumerate(batch.shapes):
        assert (device.image[row, :, height:] == 0).all() and (device.image[row, :, :, width:] == 0).all()
        rows, columns = -(-height // 16), -(-width // 16)
        assert device.valid[row, 0, :rows, :columns].all() and device.valid[row].sum() == rows * columns
    with torch.inference_mode():
        expected = standin.standin_teacher().image_encoder(device.image)
    assert ((device.teacher - expected) * device.valid).abs().max() < 3.5 / 127
    assert (device.teacher[(~device.valid).expand_as(device.teacher)] == 0).all()
    assert batch.records is None and device.records is None


def test_fp16_and_int8_caches_give_the_same_teacher_to_within_their_error(cache, tmp_path, photo_folder):
    folder = photo_folder(8)
    teachers = []
    for codec in ("fp16", "int8"):
        standin.run(folder, tmp_path / codec, codec=codec)
        batch = next(shards.ShardLoader(tmp_path / codec, batch_size=8).batches())
        order = np.argsort(batch.keys)
        teachers.append(batch.to_device("cpu").teacher[order])
    difference = (teachers[0] - teachers[1]).abs().max()
    assert 0 < difference < 3.5 / 127


def test_records_come_when_asked_for(cache):
    batch = next(shards.ShardLoader(cache, batch_size=3, records=True).batches())
    assert [record["key"] for record in batch.records] == batch.keys
    assert len(batch.to_device("cpu").records[0]["annotations"]) == 2


def test_fewer_samples_than_one_global_batch_are_refused(cache):
    with pytest.raises(InputError, match=r"23 samples, fewer than one global batch of 24 \(2 x 12\)"):
        shards.ShardLoader(cache, batch_size=12, world_size=2)


def test_a_cache_of_another_teacher_or_size_is_refused(cache):
    manifest = shards.Manifest.read(cache)
    manifest.require(teacher_sha256="5a" * 32, image_size=128)
    with pytest.raises(InputError, match=f"(?s){'5a' * 32}.*{'ee' * 32}"):
        manifest.require(teacher_sha256="ee" * 32)
    with pytest.raises(InputError, match="image size 128, but 1024"):
        manifest.require(image_size=1024)


@pytest.fixture
def copy(cache, tmp_path):
    return shutil.copytree(cache, tmp_path / "copy")


def test_no_cache_a_missing_and_a_short_shard_are_named_before_training(copy, tmp_path):
    with pytest.raises(InputError, match="holds no cache"):
        shards.ShardLoader(tmp_path, batch_size=2)
    path = copy / "train-000003.tar"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"train-000003\.tar has \d+ bytes, the manifest says"):
        shards.ShardLoader(copy, batch_size=2)
    path.unlink()
    with pytest.raises(InputError, match=r"train-000003\.tar is missing"):
        shards.ShardLoader(copy, batch_size=2)


def test_an_entry_of_another_teacher_among_the_others_is_refused(copy):
    lines = (copy / "manifest.jsonl").read_text().splitlines()
    entry = json.loads(lines[2])
    entry["teacher_sha256"] = "ee" * 32
    lines[2] = json.dumps(entry)
    (copy / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"train-000002\.tar: teacher_sha256 is eeee.* the cache's is 5a5a"):
        shards.ShardLoader(copy, batch_size=2)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("member", ["emb", "jpg"])
def test_a_damaged_sample_stops_training_and_is_named(copy, member, num_workers):
    manifest = shards.Manifest.read(copy)
    sample = shards.ShardReader(manifest).read(2, 3)
    path = copy / "train-000002.tar"
    data = bytearray(path.read_bytes())
    part = sample.record if member == "emb" else sample.jpeg
    start = data.index(part)
    data[start + 2 : start + 40] = bytes(38)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"^train-000002\.tar: sample sa_13: "):
        keys(shards.ShardLoader(copy, batch_size=4, num_workers=num_workers), 0, 6)


def test_an_embedding_of_another_photo_is_noticed(copy):
    reader = shards.ShardReader(shards.Manifest.read(copy))
    one, other = reader.read(0, 0), reader.read(0, 1)
    mixed = shards.StoredSample(shard="s.tar", key="k", record=unsealed(one.record), jpeg=other.jpeg, facts=one.facts)
    with pytest.raises(InputError, match=r"s\.tar: sample k: .* does not belong"):
        shards.make_batch([mixed], image_size=128)


def test_a_shard_without_a_good_photo_does_not_disturb_the_others(tmp_path, photo_folder):
    folder = photo_folder(12)
    for number in range(5, 10):
        (folder / f"p{number:03d}.jpg").write_bytes(b"junk")
    standin.run(folder, tmp_path / "out", max_bad_fraction=0.5)
    loader = shards.ShardLoader(tmp_path / "out", batch_size=7)
    assert sorted(keys(loader, 0, 1)[0]) == [f"p{n:03d}" for n in (0, 1, 2, 3, 4, 10, 11)]


def test_webdataset_reads_the_shards_too(cache):
    import webdataset

    found = [sample["__key__"] for sample in webdataset.WebDataset(str(cache / "train-000004.tar"), shardshuffle=False)]
    assert found == ["sa_20", "sa_21", "sa_22"]
