"""Leases on a shared folder: one holder at a time, whoever asks at once, whoever dies, whatever the file system lacks."""

import errno
import json
import os
import re
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from encoders.errors import InputError, InputWarning
from shards.cache.files import append_line, create, read_lines
from shards.pipeline.lease import Leases, this_node


def age(folder: Path, *, seconds: float, **holder: object) -> None:
    """Make the newest lease one that was last touched so long ago, by a process of elsewhere unless said otherwise."""
    path = max(folder.glob("*.lease"))
    path.write_text(json.dumps({"owner": "else-7-00", "node": "another boot", "pid": 7} | holder))
    now = Leases(folder).now()
    os.utime(path, (now - seconds, now - seconds))


def ask_at_once(folder: Path, count: int) -> int:
    """How many of so many processes get the lease; threads here, with an owner each."""
    with ThreadPoolExecutor(count) as pool:
        return sum(lease is not None for lease in pool.map(lambda _: Leases(folder, seconds=10).take("a"), range(count)))


def test_one_of_many_that_ask_at_once_gets_the_lease(tmp_path):
    assert ask_at_once(tmp_path, 16) == 1
    assert ask_at_once(tmp_path, 16) == 0


def test_one_of_many_that_ask_at_once_gets_a_lapsed_lease(tmp_path):
    for generation in range(3):
        assert ask_at_once(tmp_path, 16) == 1
        age(tmp_path, seconds=11)
        assert max(path.name for path in tmp_path.glob("*.lease")) == f"a.{generation}.lease"


def test_a_lease_is_held_until_it_is_given_back_or_not_touched_for_long_enough(tmp_path):
    lease = Leases(tmp_path, seconds=10).take("a")
    other = Leases(tmp_path, seconds=10)
    assert other.take("a") is None and other.take("b") is not None
    lease.release()
    assert other.take("a") is not None
    age(tmp_path, seconds=0)
    for seconds, free in ((8, False), (12, True)):
        Leases(tmp_path).take("c")
        age(tmp_path, seconds=seconds)
        assert (Leases(tmp_path, seconds=10).take("c") is not None) == free


def test_a_lease_dated_too_far_ahead_is_taken_over_with_a_note(tmp_path):
    Leases(tmp_path, seconds=10).take("a")
    for seconds, free in ((8, False), (12, True)):  # a clock may be a little off; no lease lasts longer than ten seconds
        age(tmp_path, seconds=-seconds)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert (Leases(tmp_path, seconds=10).take("a") is not None) == free
        assert bool(caught) == free
    assert issubclass(caught[0].category, InputWarning)
    assert re.search(r"a\.0\.lease, a lease of else-7-00, is dated 1[12] s ahead .* counts as lapsed", str(caught[0].message))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[" * 100_000, b"[]", b"x" * 10_000, b'{"owner": "a", "node": 1, "pid": 2}']
    + [json.dumps({"owner": "a", "node": this_node(), "pid": pid}).encode() for pid in (10**30, -1, 0, 1.5, "1", None)],
    ids=range(12),
)
def test_a_damaged_lease_holds_until_it_was_not_touched_for_long_enough(tmp_path, content):
    Leases(tmp_path, seconds=10).take("a")
    path = tmp_path / "a.0.lease"
    path.write_bytes(content)
    assert Leases(tmp_path, seconds=10).take("a") is None
    now = Leases(tmp_path).now()
    os.utime(path, (now - 12, now - 12))
    assert Leases(tmp_path, seconds=10).take("a") is not None


def test_a_pipe_in_place_of_a_lease_stops_nobody(tmp_path):
    os.mkfifo(tmp_path / "a.0.lease")
    assert Leases(tmp_path, seconds=10).take("a") is None
    now = Leases(tmp_path).now()
    os.utime(tmp_path / "a.0.lease", (now - 12, now - 12))
    assert Leases(tmp_path, seconds=10).take("a") is not None


def test_a_beat_keeps_a_lease_and_says_when_it_came_too_late(tmp_path):
    lease = Leases(tmp_path, seconds=0.4).take("a")
    for _ in range(6):
        time.sleep(0.1)
        lease.beat()
        assert Leases(tmp_path, seconds=0.4).take("a") is None and not lease.lapsed
    time.sleep(0.5)
    assert Leases(tmp_path, seconds=0.4).take("a") is not None
    lease.beat()
    assert lease.lapsed


@pytest.mark.skipif(this_node() is None, reason="this system does not say which processes run")
def test_the_lease_of_a_process_of_this_machine_that_has_ended_is_free_at_once(tmp_path):
    Leases(tmp_path, seconds=1e6).take("a")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    age(tmp_path, seconds=0, node=this_node(), pid=gone.pid)
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has asked how
    assert Leases(tmp_path, seconds=1e6).take("a") is not None
    gone.wait()
    age(tmp_path, seconds=0, node=this_node(), pid=os.getpid())
    assert Leases(tmp_path, seconds=1e6).take("a") is None


def test_a_file_is_made_once_also_where_there_are_no_links(tmp_path, monkeypatch):
    assert create(tmp_path / "a", b"1") and not create(tmp_path / "a", b"2")

    def no_links(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", no_links)
    assert not create(tmp_path / "a", b"3") and create(tmp_path / "b", b"4") and not create(tmp_path / "b", b"5")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"4"}
    with pytest.raises(FileNotFoundError):
        create(tmp_path / "none" / "a", b"")


def test_a_link_whose_answer_was_lost_is_still_ours(tmp_path, monkeypatch):
    link = os.link

    def asked_twice(source: str, target: str) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", asked_twice)
    assert create(tmp_path / "a", b"1") and not create(tmp_path / "a", b"2")


def test_lines_are_read_from_where_the_last_reading_ended_and_a_torn_one_waits(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"a": 1})
    lines, end = read_lines(path)
    assert lines == [{"a": 1}] and read_lines(path, start=end) == ([], end)
    with path.open("ab") as file:
        file.write(b'{"b"')
    assert read_lines(path, start=end) == ([], end)
    append_line(path, {"c": 3})  # by a new owner: what the killed one left is cut off
    assert read_lines(path, start=end)[0] == [{"c": 3}]


@pytest.mark.parametrize("line", [b"\xff", b"[" * 100_000, b"[1]", b"7", b"{"], ids=["byte", "deep", "list", "number", "cut"])
def test_a_damaged_line_is_named_by_its_file(tmp_path, line):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    says = r"a line of .*lines\.jsonl is (not JSON|nested|a JSON (list|number); expected a JSON object)"
    with pytest.raises(InputError, match=says):
        read_lines(path)


def test_a_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch):
    """Links cannot be made and the write by name fails: nobody finds an empty cache.json."""

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r": Full(opened(path, mode)) if "x" in mode else opened(path, mode))
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("not supported")))
    with pytest.raises(InputError, match=r"cache\.json cannot be written \(No space left on device"):
        create(tmp_path / "cache.json", b"{}")
    assert list(tmp_path.iterdir()) == []
