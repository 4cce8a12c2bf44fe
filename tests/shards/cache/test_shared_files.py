"""Small files that several processes make, append to and read: each is whole or absent."""

import errno
import os
from pathlib import Path

import pytest

from encoders.errors import InputError
from shards.cache.files import append_line, create, read_lines


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
