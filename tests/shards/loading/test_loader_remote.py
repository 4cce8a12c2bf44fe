"""Caches at a URL: what a bad network does to them, and what is said when it is too bad."""

import hashlib
import io
import shutil
import threading
from itertools import islice

import pytest
import torch

import shards
from encoders.errors import InputError
from shards.cache.local_cache import LocalCache
from shards.cache.remote import Expected, Retry, fetch
from shards.cache.storage import RemoteStore
from tests.shards.helpers.damage import flip
from tests.shards.helpers.server import FaultyServer

QUICK = Retry(tries=4, first_seconds=0.01, longest_seconds=0.02, timeout_seconds=0.3)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """Pauses of milliseconds in place of seconds."""
    monkeypatch.setattr("shards.cache.remote.DEFAULT_RETRY", QUICK)


def batches(cache, steps, **arguments):
    return list(islice(shards.ShardLoader(cache, batch_size=4, seed=3, **arguments).batches(), steps))


def assert_same(found, expected):
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    for here, there in zip(found, expected, strict=True):
        assert torch.equal(here.pixels, there.pixels) and torch.equal(here.codes, there.codes)


def shard_bytes(cache):
    return sum(entry.bytes for entry in shards.Manifest.read(cache).entries)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_server_that_drops_every_third_connection_loses_nothing(cache, tmp_path, num_workers):
    expected = batches(cache, 12)
    with FaultyServer(cache, fault=lambda name, number: "drop" if number % 3 == 2 else None) as server:
        found = batches(server.url, 12, local_cache=tmp_path / "local", num_workers=num_workers)
        assert_same(found, expected)
        assert any(start > 0 for _, start in server.requests)  # what was dropped went on where it was
        before = len(server.requests)
        assert_same(batches(server.url, 12, local_cache=tmp_path / "local"), expected)
        assert {name for name, _ in server.requests[before:]} == {"cache.json", "manifest.jsonl"}  # shards are kept


@pytest.mark.parametrize("fault", ["500", "drop", "short", "stall", "wrong", "no-range"])
def test_each_kind_of_failure_is_got_over(cache, tmp_path, fault):
    seen = set()

    def once(name, number):
        """The first request for each file fails; so does every request for a file's rest, where ranges are not kept."""
        first = name not in seen
        seen.add(name)
        if name.endswith(".tar") and fault == "no-range":
            return "drop" if first else "no-range"
        return fault if first and name.endswith(".tar") else None

    with FaultyServer(cache, fault=once) as server:
        assert_same(batches(server.url, 6, local_cache=tmp_path / "local"), batches(cache, 6))


def test_the_manifest_too_is_fetched_again_until_it_is_whole(cache):
    with FaultyServer(cache, fault=lambda name, number: ("drop", "500", "drop", None)[number % 4]) as server:
        manifest = shards.Manifest.read(server.url)
    assert manifest.sha256 == shards.Manifest.read(cache).sha256 and manifest.folder == server.url


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong", r"other bytes: sha256 [0-9a-f]{64}, the manifest says [0-9a-f]{64}"),
        ("500", "HTTP Error 500"),
        ("silent", "timed out"),
    ],
)
def test_what_never_succeeds_ends_with_the_shard_its_url_and_the_reason(cache, tmp_path, fault, reason):
    with FaultyServer(cache, fault=lambda name, number: fault if name == "train-000002.tar" else None) as server:
        with pytest.raises(InputError, match=rf"shard train-000002\.tar .*{server.url}/train-000002\.tar: 4 tries.*{reason}"):
            batches(server.url, 6, local_cache=tmp_path / "local")
        kept = {path.name for path in (tmp_path / "local").glob("*.tar")}
        assert f"{shards.Manifest.read(cache).entries[2].sha256}.tar" not in kept


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_missing_or_forbidden_shard_is_said_at_once(cache, tmp_path, num_workers):
    copy = shutil.copytree(cache, tmp_path / "copy")
    (copy / "train-000001.tar").unlink()
    with FaultyServer(copy) as server:
        with pytest.raises(InputError, match=rf"train-000001\.tar cannot be read: {server.url}/train-000001\.tar: .*404"):
            batches(server.url, 6, local_cache=tmp_path / "local", num_workers=num_workers)
        assert [name for name, _ in server.requests].count("train-000001.tar") <= 2  # read and, ahead, fetched
    forbidden = FaultyServer(cache, fault=lambda name, number: "403" if name.endswith("0.tar") else None)
    with forbidden as server, pytest.raises(InputError, match="the server answers 403"):
        batches(server.url, 6, local_cache=tmp_path / "local2")


def test_no_cache_at_a_url_nobody_there_and_no_local_cache_are_named(cache, tmp_path):
    with FaultyServer(tmp_path) as server:
        with pytest.raises(InputError, match=f"{server.url} holds no cache"):
            shards.Manifest.read(server.url)
        url = server.url
    with pytest.raises(InputError, match=f"cache.json cannot be fetched from {url}/cache.json: 4 tries"):
        shards.Manifest.read(url)
    with FaultyServer(cache) as server, pytest.raises(InputError, match=r"needs? a folder .* \(data\.local_cache\)"):
        shards.ShardLoader(server.url, batch_size=4)
    with FaultyServer(cache) as server, pytest.raises(InputError, match=r"5 shards are read side by side.*at least \d+"):
        shards.ShardLoader(server.url, batch_size=4, local_cache=tmp_path / "local", local_cache_bytes=1000)


def test_a_broken_manifest_at_a_url_is_named_by_its_url(cache, tmp_path):
    copy = shutil.copytree(cache, tmp_path / "copy")
    (copy / "manifest.jsonl").write_text("{]\n")
    with FaultyServer(copy) as server, pytest.raises(InputError, match=rf"{server.url}/manifest\.jsonl, line 1"):
        shards.Manifest.read(server.url)


def test_any_fsspec_url_works_and_an_unknown_one_is_named(cache, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    for path in cache.iterdir():
        if path.is_file():
            filesystem.pipe(f"/bucket/run/{path.name}", path.read_bytes())
    try:
        found = batches("memory://bucket/run", 6, local_cache=tmp_path / "local")
        assert_same(found, batches(cache, 6))
        with pytest.raises(InputError, match="memory://bucket/none holds no cache"):
            shards.Manifest.read("memory://bucket/none")
    finally:
        filesystem.rm("/bucket", recursive=True)
    assert_same(batches(f"file://{cache}", 6, local_cache=tmp_path / "local3"), batches(cache, 6))
    with pytest.raises(InputError, match="nosuch://a/cache.json cannot be read"):
        shards.Manifest.read("nosuch://a")


def test_a_download_goes_on_from_what_is_there_and_starts_anew_where_that_is_wrong(tmp_path):
    content = bytes(range(256)) * 40
    (tmp_path / "s.tar").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    for held, starts in ((content[:3000], [3000]), (b"x" * 3000, [3000, 0]), (content, []), (content + b"more", [])):
        with FaultyServer(tmp_path) as server:
            file = io.BytesIO(held)
            url = f"{server.url}/s.tar"
            size = len(content)
            fetch(url, file, expected=Expected(what="s.tar", max_bytes=size, size=size, sha256=sha256), retry=QUICK)
            assert file.getvalue() == content
            assert [start for _, start in server.requests] == starts or held.endswith(b"more")


def test_pauses_grow_to_the_longest_and_differ():
    retry = Retry(first_seconds=1, longest_seconds=10)
    for failures, longest in ((1, 1), (2, 2), (4, 8), (5, 10), (60, 10)):
        pauses = {retry.pause(failures) for _ in range(50)}
        assert len(pauses) > 40 and longest / 2 <= min(pauses) and max(pauses) <= longest


def test_shards_are_fetched_ahead_while_others_are_read(cache, tmp_path):
    with FaultyServer(cache) as server:
        manifest = shards.Manifest.read(server.url)
        local = LocalCache(tmp_path / "local", limit_bytes=10**9)
        store = RemoteStore(server.url, local=local, shards_in_use=5, retry=QUICK)
        arrived = threading.Event()
        reader = shards.ShardReader(manifest, store=store)
        reader.expect(3)
        path = tmp_path / "local" / f"{manifest.entries[3].sha256}.tar"
        for _ in range(500):
            if path.exists():
                arrived.set()
                break
            threading.Event().wait(0.01)
        assert arrived.is_set()
        count = len(server.requests)
        assert reader.read(3, 1).key == manifest.entries[3].keys[1]
        assert len(server.requests) == count
        reader.close()


def test_a_copy_that_was_damaged_on_this_disk_is_named_to_be_removed(cache, tmp_path):
    with FaultyServer(cache) as server:
        (first,) = batches(server.url, 1, local_cache=tmp_path)
        for copy in tmp_path.glob("*.tar"):
            flip(copy, 700)  # in the payload of its first sample's record
        with pytest.raises(InputError, match=r"the embedding record is damaged") as caught:
            batches(server.url, 24, local_cache=tmp_path)
        said = str(caught.value)
        assert any(f"not trained on: remove {copy}, a damaged copy" in said for copy in tmp_path.glob("*.tar"))
        assert "cache verify" not in said
        for copy in tmp_path.glob("*.tar"):
            copy.unlink()
        assert_same(batches(server.url, 1, local_cache=tmp_path), [first])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://host/ä b", "has characters that a URL cannot have; write its path as /%C3%A4%20b"),
        ("http://host/cache?signature=1", "has a query or a fragment; expected the URL of a folder"),
        ("https://me:secret@host/cache", "the URL of host has a user name in it"),
        ("http://[::1/cache", "is no URL .Invalid IPv6 URL"),
        ("http://host:99999/cache", "is no URL .Port out of range"),
        ("https:///cache", "names no server"),
    ],
)
def test_a_url_that_cannot_be_a_caches_is_refused_before_anything_is_asked_for(url, says, tmp_path, monkeypatch):
    monkeypatch.setattr("shards.cache.remote.fetch", None)
    with pytest.raises(InputError, match=says) as caught:
        shards.ShardLoader(url, batch_size=4, local_cache=tmp_path)
    assert "secret" not in str(caught.value)
