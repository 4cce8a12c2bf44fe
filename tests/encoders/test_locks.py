"""File locks: who gets one, who is told to wait and for whom, and file systems without locks."""

import os
import platform

import pytest

from encoders.errors import InputError
from encoders.locks import held, lock


def no_locks(*_: object) -> None:
    raise OSError(9, "Bad file descriptor")  # as on some NFS mounts


def test_an_exclusive_lock_keeps_every_other_out_and_shared_ones_only_exclusive_ones(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with path.open("rb") as first, path.open("rb") as second:
        assert lock(first) and not lock(second, wait=False) and not lock(second, shared=True, wait=False)
        assert lock(first, shared=True) and lock(second, shared=True, wait=False) and not lock(second, wait=False)
    with path.open("rb") as third:
        assert lock(third.fileno(), wait=False)


def test_a_lock_file_in_use_names_its_holder_and_is_free_after_the_block(tmp_path):
    path = tmp_path / "folder" / "run.lock"
    with held(path, use="trains"):
        with pytest.raises(InputError) as refused, held(path, use="trains"):
            pass
        who = f"{os.getpid()} on {platform.node()}"
        assert str(refused.value) == f"{path.parent} is in use: process {who} trains there; wait for it, or end it"
    with pytest.raises(RuntimeError), held(path, use="trains"):
        raise RuntimeError
    with held(path, use="trains"):
        assert path.read_text() == who + "\n"


def test_where_there_are_no_locks_only_one_that_is_required_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("encoders.locks.fcntl.flock", no_locks)
    with held(tmp_path / "lock", use="trains"), (tmp_path / "lock").open("rb") as file:
        assert lock(file, required=False)
        with pytest.raises(OSError, match="Bad file descriptor"):
            lock(file)
    monkeypatch.setattr("encoders.locks.fcntl", None)  # as on Windows
    with held(tmp_path / "lock", use="trains"), (tmp_path / "lock").open("rb") as file, pytest.raises(OSError, match="no file"):
        lock(file)
