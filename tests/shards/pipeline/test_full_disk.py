"""A disk that fills up, a folder of another user, a URL: a message with path and remedy, and nothing is lost."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError
from shards.cache.kept import kept
from tests.shards.helpers import standin
from tests.shards.helpers.photos import jpeg, make_photo, pair, write_tar
from tests.shards.helpers.processes import content

WORDS = r"cannot be written \(No space left on device, \d+ MiB free\).*make room there and run the same command again: {}"


@contextmanager
def full_from(call: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The disk is full from the so-manieth fsync on; yields a list that grows with each."""
    fsync, seen = os.fsync, []

    def count(descriptor: int) -> None:
        seen.append(descriptor)
        if len(seen) >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", count)
        yield seen


def fills_up_everywhere(run: Callable[[Path], object], *, says: str, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the disk be full at every `step`-th write of a call; each time the same call then completes the work."""
    with tempfile.TemporaryDirectory() as root:
        calm = Path(root, "calm")
        with full_from(10**9, monkeypatch) as seen:
            run(calm)
        assert len(seen) > 3
        for number in range(1, len(seen) + 1, step):
            out = Path(root, f"out{number}")
            with full_from(number, monkeypatch), pytest.raises(InputError, match=WORDS.format(says)) as refusal:
                run(out)
            assert str(out) in str(refusal.value)
            run(out)
            assert content(out) == content(calm), f"full at write {number}"


def test_precompute_goes_on_with_the_same_bytes_wherever_the_disk_was_full(photo_folder, monkeypatch):
    folder = photo_folder(6)

    def run(out: Path) -> None:
        standin.run(folder, out, samples_per_shard=3, codec_gate=False)

    fills_up_everywhere(run, says="finished shards are kept", monkeypatch=monkeypatch, step=6)


def test_a_shard_that_was_finished_before_the_disk_was_full_is_not_made_again(photo_folder, monkeypatch, tmp_path):
    folder = photo_folder(6)
    with full_from(10**9, monkeypatch) as seen:
        standin.run(folder, tmp_path / "calm", samples_per_shard=3, codec_gate=False)
    with full_from(2 * len(seen) // 3, monkeypatch), pytest.raises(InputError):
        standin.run(folder, tmp_path / "out", samples_per_shard=3, codec_gate=False)
    assert (tmp_path / "out" / "train-000000.tar").is_file() and not list((tmp_path / "out").glob("train-*.tmp"))
    assert standin.run(folder, tmp_path / "out", samples_per_shard=3, codec_gate=False).shards_made == 1


def test_ingest_goes_on_wherever_the_disk_was_full(monkeypatch, tmp_path):
    members = [member for number in range(4) for member in pair(number)]
    members[2] = (members[2][0], b"junk")
    tar = write_tar(tmp_path / "a.tar", members)

    def run(out: Path) -> None:
        shards.ingest(shards.open_source(tar), out=out, decode=True, max_bad_fraction=1.0)

    fills_up_everywhere(run, says="what was checked is kept", monkeypatch=monkeypatch, step=1)


def test_a_folder_without_permission_is_said_with_what_to_do(tmp_path):
    words = r"x\.tar cannot be written \(Permission denied.*give this user permission to write there and run .* all is kept"
    with pytest.raises(InputError, match=words), kept(tmp_path, what="all is kept"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "x.tar"))
    with pytest.raises(InputError, match="^another error$"), kept(tmp_path, what="all is kept"):
        raise InputError("another error")


@pytest.mark.parametrize("out", ["https://bucket/cache", Path("gs://bucket/cache")])
def test_a_url_is_no_folder_to_write_to(out, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(make_photo(1)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is a URL; expected a folder of this machine|can be read but not written"):
        standin.run(tmp_path / "photos", out)
    with pytest.raises(InputError, match="is a URL; expected a folder of this machine"):
        shards.ingest(shards.open_source(tmp_path / "photos"), out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
