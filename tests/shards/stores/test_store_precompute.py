"""A precompute into an object store: what is there in the end is what a folder would hold, whatever fails on the way."""

from dataclasses import replace

import fsspec
import pytest

import shards
from encoders.errors import InputError
from shards.cache.files import to_line
from shards.cache.identity import CacheIdentity
from shards.cache.manifest import Manifest
from shards.pipeline.object_stores.mirror import BEGUN, ENTRIES
from shards.stores.objects import open_objects
from tests.shards.helpers import standin
from tests.shards.helpers.faulty_store import FaultyFileSystem

URL = "memory://bucket/cache"
KEPT = ("cache.json", "manifest.jsonl", "quarantine.jsonl")


def stored(url: str) -> dict[str, bytes]:
    """What a cache at a URL consists of."""
    filesystem, root = fsspec.core.url_to_fs(url)
    found = {path[len(root) + 1 :]: filesystem.cat_file(path) for path in filesystem.find(root)}
    return {name: content for name, content in found.items() if name != "progress.jsonl"}


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".tar" or path.name in KEPT}


@pytest.fixture
def calm(tmp_path, photo_folder):
    """A folder of 12 photos, one of them bad, and the cache of them in a folder."""
    photos = photo_folder(12)
    (photos / "p011.jpg").write_bytes(b"junk")
    standin.run(photos, tmp_path / "calm", max_bad_fraction=0.2)
    return photos, content(tmp_path / "calm")


def test_a_cache_in_a_store_has_the_bytes_of_one_in_a_folder(tmp_path, calm):
    photos, expected = calm
    made = standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    assert (made.out, made.shards, made.shards_made, made.complete, made.quarantined) == (URL, 3, 3, True, 1)
    assert stored(URL) == expected and open_objects(URL).read("progress.jsonl", max_bytes=10**6).count(b"\n") == 3
    assert not list((tmp_path / "scratch").rglob("*.tar*")), "shards stay on scratch"
    again = standin.run(photos, URL, scratch=tmp_path / "elsewhere", max_bad_fraction=0.2)
    assert again.complete and again.shards_made == 0 and stored(URL) == expected


def test_ranks_on_machines_of_their_own_share_the_work(tmp_path, calm):
    photos, expected = calm
    for rank in (1, 0):
        made = standin.run(
            photos, URL, scratch=tmp_path / f"machine{rank}", rank=rank, world_size=2, max_bad_fraction=0.2
        )
    assert made.complete and made.shards_made == 2 and stored(URL) == expected


def test_twenty_failures_leave_no_trace(tmp_path, calm, monkeypatch):
    photos, expected = calm
    url, kinds, hit = "faulty://bucket/cache", ["fail", "cut", "late"], []

    def fault(operation: str, path: str) -> str | None:
        """Every second call, until there were twenty."""
        if len(hit) < 20 and len(FaultyFileSystem.calls) % 2:
            hit.append(operation)
            return kinds[len(hit) % 3]
        return None

    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(fault))
    for attempt in range(10):
        try:
            made = standin.run(photos, url, scratch=tmp_path / f"scratch{attempt}", max_bad_fraction=0.2)
            break
        except InputError as error:
            assert url in str(error) and "run the same command again" in str(error)
    assert len(hit) == 20 and {"put", "write", "read"} <= set(hit)
    assert made.complete and stored(url) == expected
    assert shards.verify(url).problems == []


def test_a_killed_upload_is_never_counted(tmp_path, calm):
    photos, expected = calm
    store = open_objects(URL)
    standin.run(photos, URL, scratch=tmp_path / "scratch", rank=0, world_size=2, max_bad_fraction=0.2)  # shards 0 and 2
    half = expected["train-000001.tar"][:5000]
    store.put("train-000001.tar", half)
    store.put(f"{ENTRIES}/train-000009.tar.json", b"{}\n")
    store.delete(["train-000002.tar"])
    made = standin.run(photos, URL, scratch=tmp_path / "other", max_bad_fraction=0.2)
    assert made.complete and made.shards_made == 2 and stored(URL) == expected


def test_another_cache_at_the_url_is_refused(tmp_path, calm):
    photos, _ = calm
    standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    with pytest.raises(InputError, match=f"the cache in {URL} was made with another teacher's weights"):
        standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.2, teacher_sha256="6b" * 32)


def test_an_unfinished_cache_is_not_read(tmp_path, calm):
    photos, _ = calm
    standin.run(photos, URL, scratch=tmp_path / "scratch", rank=0, world_size=2, max_bad_fraction=0.2)
    assert open_objects(URL).size(BEGUN) is not None
    with pytest.raises(InputError, match="is unfinished"):
        shards.Manifest.read(URL)


def test_repair_makes_only_damaged_shards_again(tmp_path, calm):
    photos, expected = calm
    standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    store = open_objects(URL)
    damaged = bytearray(expected["train-000001.tar"])
    damaged[len(damaged) // 2] ^= 1
    store.put("train-000001.tar", bytes(damaged))
    store.delete(["train-000002.tar"])
    report = shards.verify(URL)
    assert report.damaged == ["train-000001.tar", "train-000002.tar"] and f"cache verify {URL} --repair" in report.rerun
    assert store.read("train-000001.tar", max_bytes=10**7) == bytes(damaged), "verify changes nothing"
    wanted = CacheIdentity.read(tmp_path / "calm")
    with pytest.raises(InputError, match="was made with another codec"):
        shards.clear_damaged(report, wanted=replace(wanted, codec="fp16"))
    assert store.size("train-000001.tar") is not None, "a refused repair removes nothing"
    shards.clear_damaged(report, wanted=wanted)
    made = standin.run(photos, URL, scratch=tmp_path / "other", max_bad_fraction=0.2)
    assert made.complete and made.shards_made == 2 and stored(URL) == expected


def test_stats_of_a_url_are_those_of_the_folder(tmp_path, calm):
    photos, _ = calm
    standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    ours, theirs = (shards.CacheSample(cache, samples=4, seed=1).stats() for cache in (URL, tmp_path / "calm"))
    assert ours == theirs and ours.photos == 11


def test_shards_that_no_line_names_are_found_and_other_files_are_not_ours(tmp_path, calm):
    photos, _ = calm
    standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    store = open_objects(URL)
    store.put("photos.tar", b"another file")
    store.put("train-000007.tar", b"a shard of another cache")
    (problem,) = shards.verify(URL).problems
    assert problem.where == "train-000007.tar" and "no line of the manifest names it" in problem.problem


def test_a_call_that_comes_too_late_leaves_the_finished_cache_alone(tmp_path, calm):
    photos, expected = calm
    others = []

    def another_machine(state) -> None:
        """Makes the whole cache while this call is at work on its first shard."""
        if not others:
            others.append(standin.run(photos, URL, scratch=tmp_path / "other", max_bad_fraction=0.2))

    made = standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.2, progress=another_machine)
    assert others[0].shards_made == 3 and made.shards_made == 0 and made.complete
    assert stored(URL) == expected


def test_of_two_who_make_a_shard_at_once_the_entry_is_that_of_the_bytes_there(tmp_path, calm, monkeypatch):
    """Another kind of machine publishes other bytes while ours are on their way, and ours arrive last."""
    photos, expected = calm
    url, name = "faulty://bucket/cache", "train-000000.tar"
    standin.run(photos, tmp_path / "other", max_bad_fraction=0.2, batch_size=3)
    other = Manifest.read(tmp_path / "other").entries[0]
    store = open_objects(url)

    def meanwhile(operation: str, path: str) -> None:
        if operation == "write" and path.endswith(f"{name}.json"):
            monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(lambda operation, path: None))
            store.create(f"{ENTRIES}/{name}.json", to_line(replace(other, sha256="0" * 64).to_json()))

    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(meanwhile))
    made = standin.run(photos, url, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    assert made.complete and stored(url) == expected


def test_the_list_of_bad_photos_is_in_the_store_when_there_are_too_many(tmp_path, calm):
    photos, _ = calm
    with pytest.raises(InputError, match="1 photos of 12 cannot be used"):
        standin.run(photos, URL, scratch=tmp_path / "scratch", max_bad_fraction=0.0)
    assert b"p011" in open_objects(URL).read("quarantine.jsonl", max_bytes=10**6)
    made = standin.run(photos, URL, scratch=tmp_path / "other", max_bad_fraction=0.2)
    assert made.complete and made.shards_made == 1


def test_bytes_that_come_between_upload_and_entry_never_stay_with_it(tmp_path, calm, monkeypatch):
    """Another kind of machine replaces our file just before our entry is written, and is killed before it writes its own."""
    photos, expected = calm
    url, name = "faulty://bucket/cache", "train-000000.tar"
    store = open_objects(url)

    def meanwhile(operation: str, path: str) -> None:
        if operation == "write" and path.endswith(f"{name}.json"):
            monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(lambda operation, path: None))
            store.put(name, expected[name][:-1] + b"\x01")  # of the same size

    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(meanwhile))
    made = standin.run(photos, url, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    assert made.complete and stored(url) == expected
