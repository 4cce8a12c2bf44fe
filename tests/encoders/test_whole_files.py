"""Files that are whole or absent, and what is said when they cannot be written."""

import errno
import os
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from encoders import files
from encoders.errors import InputError
from encoders.files import atomic_path, check_output_folder, os_error_message, read_bounded, read_bounded_lines


def test_a_failed_write_names_the_file_and_the_space_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("before")
    said = r"a\.json cannot be written \(No space left on device, \d+ MiB free\)"
    with pytest.raises(InputError, match=said), atomic_path(path) as at:
        at.write_text("half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_packages_own_error_on_a_full_disk_is_told_while_the_disk_is_still_full(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    monkeypatch.setattr(files, "free_bytes", lambda target: 0 if list(tmp_path.glob("*.tmp")) else 2**40)
    with pytest.raises(InputError, match=r"a\.pt cannot be written \(unexpected pos 64, 0 MiB free\)"), atomic_path(path) as at:
        at.write_bytes(b"x" * 64)
        raise RuntimeError("unexpected pos 64")  # as torch.save has it
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="another"), atomic_path(path):
        raise RuntimeError("another")


def test_a_folder_that_cannot_be_made_or_written_to_is_refused_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    in_the_way = {"file": "file is a file", "file/a/b": "file is a file", "lost": "lost is a link that leads nowhere"}
    for name, says in in_the_way.items():
        with pytest.raises(InputError, match=rf"/{name} cannot be made a folder \({tmp_path}/{says}\); choose another place"):
            check_output_folder(tmp_path / name)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match=r"cannot be written to \(Permission denied\); change its permissions or choose"):
        check_output_folder(tmp_path)
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(InputError, match=r"cannot be written to \(Read-only file system\); choose another place"):
        check_output_folder(tmp_path)


def test_other_errors_of_the_system_name_the_file_and_what_to_do():
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/x")
    advice = "change its permissions or choose another place"
    assert os_error_message(denied) == f"/data/x cannot be used (Permission denied); {advice}"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(Path.cwd() / "x"))
    assert "x cannot be written (No space left on device, " in os_error_message(full)
    assert os_error_message(OSError(errno.EIO, os.strerror(errno.EIO))) == "a file cannot be used (Input/output error)"


def test_a_small_file_takes_little_memory_however_large_it_might_be(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x" * 1000)
    tracemalloc.start()
    try:
        assert read_bounded(path, max_bytes=2**30, name="a") == b"x" * 1000
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_long_file_is_read_line_by_line_within_its_bounds(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 9_999 + b"\n")
    with path.open("ab") as file:
        for _ in range(400):
            file.write(b"y" * 9_999 + b"\n")
        file.write(b"no newline")
    tracemalloc.start()
    try:
        sizes = [len(line) for line in read_bounded_lines(path, max_bytes=2**30, name="a")]
        assert tracemalloc.get_traced_memory()[1] < 2**19, "the file has 4 MB"
    finally:
        tracemalloc.stop()
    assert sizes == [10_000] * 401 + [10]
    with pytest.raises(InputError, match="a has 4010010 bytes; at most 4010009 are read"):
        next(read_bounded_lines(path, max_bytes=4_010_009, name="a"))
    with pytest.raises(InputError, match="a is a folder; expected a file"):
        next(read_bounded_lines(tmp_path, max_bytes=10, name="a"))


def test_what_is_appended_while_a_file_is_read_line_by_line_is_not_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\ntwo\n")
    lines = read_bounded_lines(path, max_bytes=100, name="a")
    first = next(lines)
    with path.open("ab") as file:
        file.write(b"three\n" * 10)
    assert [first, *lines] == [b"one\n", b"two\n"]
