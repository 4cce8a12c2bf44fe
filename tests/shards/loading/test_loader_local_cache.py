"""The local cache of remote shards: bounded, shared by processes, never in the way of who reads, whatever is killed."""

import hashlib
import multiprocessing
import os
import threading
import time
from itertools import islice

import numpy as np
import pytest

import shards
from encoders.errors import InputError
from shards.cache import local_cache
from shards.cache.local_cache import LocalCache
from shards.cache.manifest import ShardEntry
from shards.cache.remote import Retry
from shards.cache.storage import RemoteStore
from shards.loading.sample_order import SampleOrder
from tests.shards.helpers.server import FaultyServer


def entry_of(content, name="s.tar"):
    facts = {"teacher": "", "teacher_sha256": "", "preprocess_version": "", "image_size": 0, "codec": "", "codec_version": 0}
    sha256 = hashlib.sha256(content).hexdigest()
    return ShardEntry(name=name, bytes=len(content), sha256=sha256, keys=(), quarantined=(), source="", **facts)


def contents(count, size=1000):
    return [bytes([number]) * size for number in range(count)]


def kept_bytes(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


class Counting(LocalCache):
    """Fetches from memory and remembers what it fetched."""

    def __init__(self, folder, **arguments):
        super().__init__(folder, **arguments)
        self.fetched = []

    def get(self, content, *, wait=True):
        def fill(part):
            self.fetched.append(content[0])
            part.write(content[part.seek(0, os.SEEK_END) :])

        return self.open(entry_of(content), fill, wait=wait)


def test_the_longest_unused_shard_goes_first_and_the_bound_holds(tmp_path):
    local = Counting(tmp_path, limit_bytes=3500)
    a, b, c, d = contents(4)
    for content in (a, b, c, a, d, a, c, b):  # d evicts b, as a was used since; the last b evicts d
        descriptor = local.get(content)
        assert os.pread(descriptor, 2000, 0) == content
        os.close(descriptor)
        time.sleep(0.01)  # times of use differ
        assert kept_bytes(tmp_path) <= 3500
    assert local.fetched == [0, 1, 2, 3, 1]


def test_a_shard_in_use_is_never_evicted_and_the_error_says_what_to_do(tmp_path):
    local = Counting(tmp_path, limit_bytes=2500, wait_seconds=0.3)
    a, b, c = contents(3)
    first, second = local.get(a), local.get(b)
    assert local.get(c, wait=False) is None
    with pytest.raises(InputError, match=r"no room for s\.tar.*may hold 2500 bytes; give it more \(data\.local_cache_gib\)"):
        local.get(c)
    assert os.pread(first, 2000, 0) == a and kept_bytes(tmp_path) == 2000
    threading.Timer(0.1, os.close, [second]).start()
    os.close(local.get(c))
    assert local.fetched == [0, 1, 2] and os.pread(first, 2000, 0) == a
    os.close(local.get(a))
    assert local.fetched == [0, 1, 2]
    os.close(first)
    with pytest.raises(InputError, match="has 3000 bytes"):
        local.get(bytes(3000))


def test_files_of_others_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "sa_000001.tar").write_bytes(bytes(5000))
    local = Counting(tmp_path, limit_bytes=1500)
    for content in contents(3):
        os.close(local.get(content))
    assert (tmp_path / "sa_000001.tar").stat().st_size == 5000 and len(list(tmp_path.glob("?" * 64 + ".tar"))) == 1


def test_links_pipes_and_folders_with_names_of_ours_do_no_harm(tmp_path):
    thesis, folder = tmp_path / "thesis.txt", tmp_path / "local"
    thesis.write_text("years of work")
    folder.mkdir()
    (folder / f"{'a' * 64}.tar").symlink_to(thesis)
    os.mkfifo(folder / f"{'b' * 64}.tar")
    (folder / f"{'c' * 64}.tar").mkdir()
    (folder / f"{'d' * 64}.tar").symlink_to(tmp_path / "nowhere")
    local = Counting(folder, limit_bytes=10_000)
    for content in contents(12):
        os.close(local.get(content))
    assert len(list(folder.iterdir())) > 5 and thesis.read_text() == "years of work"
    (folder / ".lock").unlink()
    (folder / ".lock").symlink_to(thesis)
    with pytest.raises(InputError, match=r"\.lock in the local cache cannot be opened"):
        Counting(folder, limit_bytes=10_000)
    assert thesis.read_text() == "years of work"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the local cache .*file/local cannot be used"):
        LocalCache(tmp_path / "file" / "local", limit_bytes=1)


def test_a_shard_that_becomes_whole_between_opening_and_locking_is_read(tmp_path, monkeypatch):
    local, content, lock = Counting(tmp_path, limit_bytes=5000), contents(1)[0], local_cache.lock
    part, whole = local._part_path(entry_of(content)), local.whole_path(entry_of(content))

    def another_process_is_done(descriptor, **how):
        if part.exists():
            part.write_bytes(content)
            part.rename(whole)
        return lock(descriptor, **how)

    monkeypatch.setattr(local_cache, "lock", another_process_is_done)
    descriptor = local.get(content)
    assert os.pread(descriptor, 2000, 0) == content and local.fetched == []
    os.close(descriptor)


def test_what_a_failed_fetch_left_is_continued(tmp_path):
    local = Counting(tmp_path, limit_bytes=5000)
    content = bytes(range(200)) * 5

    def breaks(part):
        part.write(content[:300])
        raise InputError("gone")

    with pytest.raises(InputError, match="gone"):
        local.open(entry_of(content), breaks)
    (part,) = tmp_path.glob("*.part")
    assert part.read_bytes() == content[:300]
    descriptor = local.get(content)
    assert os.pread(descriptor, 2000, 0) == content and not list(tmp_path.glob("*.part"))
    os.close(descriptor)


def _read_all(folder, seed, errors):
    local = Counting(folder, limit_bytes=4500)
    everything = contents(12, size=1000)
    for step in range(40):
        content = everything[(step * 7 + seed * 5) % 12]
        descriptor = local.get(content)
        if os.pread(descriptor, 2000, 0) != content:
            errors.put(f"wrong bytes of {content[0]}")
        with local._alone():  # no other process begins or evicts one while they are counted
            count = len({path.name[:64] for path in folder.glob("?" * 64 + ".*")})
        if count > 4:
            errors.put(f"{count} shards of 1000 bytes")
        os.close(descriptor)


def test_processes_share_a_cache_smaller_than_what_they_read(tmp_path):
    context = multiprocessing.get_context("fork")
    errors = context.SimpleQueue()
    processes = [context.Process(target=_read_all, args=(tmp_path / "local", seed, errors)) for seed in range(4)]
    (tmp_path / "local").mkdir()
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert errors.empty(), errors.get()
    assert [process.exitcode for process in processes] == [0] * 4
    assert kept_bytes(tmp_path / "local") <= 4500


def _open_first(url, folder):
    manifest = shards.Manifest.read(url)
    RemoteStore(url, local=LocalCache(folder, limit_bytes=10**9), shards_in_use=5).open(manifest.entries[0])


def test_a_download_killed_in_the_middle_is_continued_by_the_next_process(cache, tmp_path):
    folder = tmp_path / "local"
    seen = []

    def stall_once(name, number):
        seen.append(name)
        return "stall" if name.endswith(".tar") and seen.count(name) == 1 else None

    context = multiprocessing.get_context("fork")
    with FaultyServer(cache, fault=stall_once, stall_seconds=30) as server:
        process = context.Process(target=_open_first, args=(server.url, folder))
        process.start()
        half = shards.Manifest.read(cache).entries[0].bytes // 2
        for _ in range(3000):
            parts = list(folder.glob("*.part"))
            if parts and parts[0].stat().st_size >= half // 2:
                break
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
        (part,) = folder.glob("*.part")
        left = part.stat().st_size
        assert 0 < left <= half
        second = context.Process(target=_open_first, args=(server.url, folder))
        second.start()
        second.join(60)
        assert second.exitcode == 0
        assert server.requests[-1] == ("train-000000.tar", left)
    (whole,) = folder.glob("*.tar")
    assert whole.read_bytes() == (cache / "train-000000.tar").read_bytes() and not list(folder.glob("*.part"))


def test_an_epoch_through_a_cache_of_half_its_size_is_the_undisturbed_one(cache, tmp_path):
    """Two processes' worth of readers over 5 shards with room for 3: what is not in use makes room."""
    manifest = shards.Manifest.read(cache)
    limit = sorted(entry.bytes for entry in manifest.entries)[-3:]
    with FaultyServer(cache) as server:
        remote = shards.Manifest.read(server.url)
        local = LocalCache(tmp_path / "local", limit_bytes=sum(limit), wait_seconds=5)
        store = RemoteStore(server.url, local=local, shards_in_use=2, retry=Retry(first_seconds=0.01))
        near, far = shards.ShardReader(manifest), shards.ShardReader(remote, store=store)
        order = SampleOrder([len(entry.keys) for entry in manifest.entries], seed=1, lanes=2)
        for place in order.places(np.arange(46)):
            assert far.read(*place) == near.read(*place)
            assert kept_bytes(tmp_path / "local") <= sum(limit)
        far.close()
        near.close()


def test_one_shard_is_fetched_once_by_processes_that_want_it_together(cache, tmp_path):
    with FaultyServer(cache) as server:
        context = multiprocessing.get_context("fork")

        def epoch(rank):
            loader = shards.ShardLoader(
                server.url, batch_size=2, rank=rank, world_size=2, local_cache=tmp_path / "local", num_workers=0
            )
            for _ in islice(loader.batches(), 7):
                pass

        processes = [context.Process(target=epoch, args=(rank,)) for rank in (0, 1)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        names = [name for name, _ in server.requests if name.endswith(".tar")]
        assert sorted(names) == [f"train-00000{number}.tar" for number in range(5)]
