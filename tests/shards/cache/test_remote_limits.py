"""What a server may send, and how slowly: nothing is taken into memory or waited for without end."""

import fcntl
import hashlib
import io
import os
import re

import pytest

import shards
from encoders.errors import InputError
from shards.cache.local_cache import LocalCache
from shards.cache.manifest import ShardEntry
from shards.cache.pace import Pace
from shards.cache.remote import Expected, Retry, fetch
from tests.shards.helpers.server import FaultyServer

QUICK = Retry(tries=2, first_seconds=0.01, longest_seconds=0.02, timeout_seconds=0.3, slowest_bytes_per_second=2000)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """Patience of fractions of a second in place of minutes."""
    monkeypatch.setattr("shards.cache.remote.DEFAULT_RETRY", QUICK)


def read(server, tmp_path):
    """The first batch of a cache at a server."""
    return next(iter(shards.ShardLoader(server.url, batch_size=4, local_cache=tmp_path / "local").batches()))


def only(name, fault):
    return lambda asked, number: fault if asked == name else None


def refused(cache, tmp_path, *, name, fault):
    """The server that has a fault in one file, and what is said when the cache is read."""
    with FaultyServer(cache, fault=only(name, fault)) as server, pytest.raises(InputError) as error:
        read(server, tmp_path)
    return server, str(error.value)


@pytest.mark.parametrize("name", ["cache.json", "manifest.jsonl", "train-000000.tar"])
@pytest.mark.parametrize("fault", ["drip", "drip header"])
def test_a_server_that_drips_is_given_up_and_named(cache, tmp_path, name, fault):
    server, error = refused(cache, tmp_path, name=name, fault=fault)
    assert re.search(rf"{name}.* from {server.url}/{name}: 2 tries .*(less than 2000 bytes|timed out)", error)


@pytest.mark.parametrize("name", ["cache.json", "manifest.jsonl"])
@pytest.mark.parametrize(("fault", "says"), [("endless", "more than 50000 bytes"), ("huge", "1099511627776 bytes")])
def test_metadata_that_is_too_large_is_refused_at_once(cache, tmp_path, monkeypatch, name, fault, says):
    for limit in ("MAX_CACHE_BYTES", "MAX_MANIFEST_BYTES"):
        monkeypatch.setattr(f"shards.cache.manifest.{limit}", 50_000)
    with FaultyServer(cache, fault=only(name, fault)) as server:
        with pytest.raises(InputError, match=rf"{name} cannot be read: {server.url}/{name} has {says}, at most 50000 are read"):
            read(server, tmp_path)
        assert [asked for asked, _ in server.requests].count(name) == 1


def test_a_shard_without_end_fills_no_disk(cache, tmp_path):
    _, error = refused(cache, tmp_path, name="train-000000.tar", fault="endless")
    assert re.search(r"train-000000\.tar cannot be fetched .*more than the \d+ bytes that it should have", error)
    assert sum(path.stat().st_size for path in (tmp_path / "local").glob("*.part")) < 2**22


def test_headers_without_end_are_refused(cache, tmp_path):
    _, error = refused(cache, tmp_path, name="cache.json", fault="endless header")
    assert re.search(r"cache\.json cannot be read: .*the server sends more bytes around the content", error)


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/cache.json", "data:,{}", "gopher://x/", "//["])
def test_a_redirect_that_leaves_http_is_refused(cache, tmp_path, place):
    _, error = refused(cache, tmp_path, name="cache.json", fault=f"to {place}")
    assert re.search(r"cache\.json (cannot be read|cannot be fetched)", error)


def test_a_redirect_to_another_http_server_is_followed_without_reading_the_answer(cache, tmp_path):
    with FaultyServer(cache) as second, FaultyServer(cache, fault=lambda name, number: f"to {second.url}/{name}") as first:
        assert len(read(first, tmp_path).keys) == 4


def test_a_slow_server_that_keeps_the_rate_is_waited_for(tmp_path):
    (tmp_path / "s.tar").write_bytes(bytes(100))
    slow = Retry(tries=1, timeout_seconds=0.3, slowest_bytes_per_second=20)  # half of it drips for half a second
    with FaultyServer(tmp_path, fault=lambda name, number: "drip") as server:
        file = io.BytesIO()
        fetch(f"{server.url}/s.tar", file, expected=Expected(what="s.tar", max_bytes=100, size=100), retry=slow)
        assert file.getvalue() == bytes(100)


def test_what_a_server_says_is_shown_without_control_characters(cache, tmp_path):
    _, error = refused(cache, tmp_path, name="cache.json", fault="to http://\x1b[2J/")
    assert error.isprintable()


def test_seconds_behind_are_paid_by_bytes_and_never_saved_up():
    now = [0.0]
    pace = Pace(slowest=100, clock=lambda: now[0])
    now[0] = 10
    assert pace.behind == 10 and not pace.has_caught_up()
    pace.arrived(400)
    assert pace.behind == 6 and not pace.has_caught_up()
    pace.arrived(10**9)
    assert pace.behind == 0 and pace.has_caught_up() and not pace.has_caught_up()
    now[0] = 13
    assert pace.behind == 3


def entry_of(content: bytes) -> ShardEntry:
    facts = {"teacher": "", "teacher_sha256": "", "preprocess_version": "", "image_size": 0, "codec": "", "codec_version": 0}
    sha256 = hashlib.sha256(content).hexdigest()
    return ShardEntry(name="s.tar", bytes=len(content), sha256=sha256, keys=(), quarantined=(), source="", **facts)


def test_a_fetch_of_another_process_that_stands_still_is_not_waited_for_without_end(tmp_path):
    local, entry = LocalCache(tmp_path, limit_bytes=5000, stalled_seconds=0.3), entry_of(b"a" * 1000)
    part = tmp_path / f"{entry.sha256}.1000.part"
    part.write_bytes(b"a" * 300)
    with part.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"\.part is being fetched by another process, which brought nothing for 0 s"):
            local.open(entry, lambda part: None)


@pytest.mark.parametrize("content", [b"", b"a" * 999, b"a" * 1001])
def test_a_kept_shard_of_another_size_is_fetched_again(tmp_path, content):
    local, entry = LocalCache(tmp_path, limit_bytes=5000), entry_of(b"a" * 1000)
    (tmp_path / f"{entry.sha256}.tar").write_bytes(content)
    descriptor = local.open(entry, lambda part: part.write(b"a" * 1000))
    assert os.pread(descriptor, 2000, 0) == b"a" * 1000
    os.close(descriptor)


def test_links_and_pipes_in_the_local_cache_are_not_followed(tmp_path):
    (tmp_path / "local").mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"years of work")
    entry = entry_of(b"a" * 1000)
    part = tmp_path / "local" / f"{entry.sha256}.1000.part"
    local = LocalCache(tmp_path / "local", limit_bytes=5000)
    part.symlink_to(victim)
    with pytest.raises(InputError, match=r"\.part in the local cache cannot be opened"):
        local.open(entry, lambda part: part.write(b"a" * 1000))
    part.unlink()
    os.mkfifo(tmp_path / "local" / f"{entry.sha256}.tar")
    with pytest.raises(InputError, match=r"\.tar in the local cache is not a regular file; remove it"):
        local.open(entry, lambda part: part.write(b"a" * 1000))
    assert victim.read_bytes() == b"years of work"


def test_a_full_disk_is_said_at_once(cache, tmp_path):
    class Full(io.BytesIO):
        name = str(tmp_path / "s.part")

        def write(self, _):
            raise OSError(28, "No space left on device")

    with FaultyServer(cache) as server:
        with pytest.raises(InputError, match=r"s\.part cannot be written \(No space left on device, \d+ MiB free\)"):
            fetch(f"{server.url}/cache.json", Full(), expected=Expected(what="x", max_bytes=10**6), retry=QUICK)
        assert len(server.requests) == 1
