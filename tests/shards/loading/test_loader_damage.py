"""Whatever happens to a cache's bytes, nothing else than what was stored is trained on."""

import multiprocessing
import pickle
import shutil
import time
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest

import shards
from encoders.errors import InputError
from shards.codec.seal import is_sealed
from shards.loading.whole_shards import WholeShards
from tests.shards.helpers import standin
from tests.shards.helpers.damage import as_before_seals, find_member, flip, flips
from tests.shards.helpers.photos import pair, write_tar
from tests.shards.helpers.processes import content

SHARD = "train-000002.tar"  # holds sa_10 .. sa_14


def read_all(cache, **settings):
    """Every sample once: key -> the bytes that a batch has of it."""
    loader = shards.ShardLoader(cache, batch_size=4, records=True, **settings)
    found = {}
    for batch in islice(loader.batches(), loader.steps_per_epoch):
        for row, key in enumerate(batch.keys):
            found[key] = (batch.pixels[row].numpy().tobytes(), batch.codes[row].numpy().tobytes(), str(batch.records[row]))
    return found


@pytest.fixture
def copy(cache, tmp_path):
    return shutil.copytree(cache, tmp_path / "copy")


@pytest.fixture(scope="module")
def old_cache(cache, tmp_path_factory):
    """The same cache as an earlier release wrote it."""
    return as_before_seals(cache, tmp_path_factory.mktemp("old") / "cache")


@pytest.fixture
def old_copy(old_cache, tmp_path):
    return shutil.copytree(old_cache, tmp_path / "old")


@pytest.mark.parametrize("which", ["copy", "old_copy"])
def test_no_flipped_bit_changes_what_is_trained_on_unnoticed(which, cache, request):
    folder = request.getfixturevalue(which)
    whole, noticed = read_all(cache), 0
    for offset in flips(folder / SHARD, count=24, seed=5):
        try:
            assert read_all(folder) == whole, f"a bit of byte {offset}"
        except InputError as error:
            assert SHARD in str(error)
            noticed += 1
    assert noticed >= 10  # the others lie in the blocks that fill a tar up


@pytest.mark.parametrize("member", ["jpg", "json"])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_flipped_bit_in_photo_or_facts_stops_training_and_shard_key_and_number_are_said(copy, member, num_workers):
    for key in ("sa_11", "sa_13"):  # byte 180 is in a JPEG's tables: it decodes, to other pixels
        flip(copy / SHARD, find_member(copy / SHARD, f"{key}.{member}") + 180)
    with pytest.raises(InputError) as caught:
        read_all(copy, num_workers=num_workers)
    message = str(caught.value)
    assert message.startswith(tuple(f"{SHARD}: sample {key}: its {member} is damaged" for key in ("sa_11", "sa_13")))
    assert f"(damaged in {SHARD}: 2 of 5 samples, sa_11, sa_13); it is not trained on: repair the cache" in message


def test_a_photo_beside_the_record_of_another_is_noticed(cache):
    reader = shards.ShardReader(shards.Manifest.read(cache))
    one, other = reader.read(0, 0), reader.read(0, 4)
    assert one.pixels().shape == other.pixels().shape  # so that only the checksum can tell
    mixed = shards.StoredSample(shard="s.tar", key="k", record=one.record, jpeg=other.jpeg, facts=one.facts)
    with pytest.raises(InputError, match=r"s\.tar: sample k: its jpg is damaged"):
        shards.make_batch([mixed], image_size=128)


def test_a_cache_of_an_earlier_release_is_read_and_its_damage_is_named_by_shard(cache, old_copy):
    assert read_all(old_copy) == read_all(cache)
    flip(old_copy / SHARD, find_member(old_copy / SHARD, "sa_12.jpg") + 180)
    with pytest.raises(InputError, match=rf"^{SHARD}: it is damaged: sha256 is .* the manifest says .* cache verify .* --rep"):
        read_all(old_copy)


def test_a_shard_of_an_earlier_release_is_compared_once_a_run_and_a_sealed_one_never(cache, old_cache):
    for folder, expected in ((old_cache, 5), (cache, 0)):
        loader = shards.ShardLoader(folder, batch_size=4)
        for _ in range(2):
            list(islice(loader.batches(), 2 * loader.steps_per_epoch))
        assert loader.whole.read == expected


def test_workers_share_what_they_found_whole(old_copy):
    loader = shards.ShardLoader(old_copy, batch_size=4, num_workers=2)
    list(islice(loader.batches(), loader.steps_per_epoch))
    list(islice(shards.ShardLoader(old_copy, batch_size=4).batches(), 1))
    for shard in old_copy.glob("train-*.tar"):  # no process needs to read them again, so none notices this
        flip(shard, shard.stat().st_size - 1)
    loader.num_workers = 0
    list(islice(loader.batches(), loader.steps_per_epoch))
    assert loader.whole.read == 0


def test_workers_read_a_shard_once_also_where_its_file_system_has_no_locks(tmp_path, monkeypatch):
    def slowly(path):
        with (tmp_path / "reads").open("a") as file:
            file.write(f"{path.name}\n")
        time.sleep(0.1)
        return "ab" * 32

    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(9, "Bad file descriptor")))  # as on NFS
    monkeypatch.setattr("shards.loading.whole_shards.sha256_file", slowly)
    shard = tmp_path / "train-000000.tar"
    shard.touch()
    whole, entry = WholeShards(tmp_path, shards=3), SimpleNamespace(name=shard.name, sha256="ab" * 32)
    workers = [multiprocessing.get_context("fork").Process(target=whole.check, args=(1, entry)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "reads").read_text() == "train-000000.tar\n"
    pickle.loads(pickle.dumps(whole.__getstate__() | {"_whole": None}))  # so a worker may be spawned, too


def test_an_unfinished_cache_of_an_earlier_release_is_finished_with_the_bytes_that_it_would_have_had(old_cache, tmp_path):
    tar = write_tar(tmp_path / "sa_000007.tar", [member for number in range(23) for member in pair(number)])
    begun = Path(shutil.copytree(old_cache, tmp_path / "begun"))
    (begun / SHARD).unlink()
    lines = (begun / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (begun / "manifest.jsonl").write_bytes(b"".join(lines[:2] + lines[3:]))
    assert standin.run(tar, begun).shards_made == 1
    assert content(begun) == content(old_cache)


def test_records_of_a_new_cache_vouch_for_the_files_beside_them(cache):
    reader = shards.ShardReader(shards.Manifest.read(cache))
    assert all(is_sealed(reader.read(shard, 0).record) for shard in range(5))
