"""Shards made in overlapping stages: in order, a bounded way ahead, and ended cleanly whatever fails."""

import errno
import os
import threading

import pytest

import shards
from encoders.errors import InputError
from encoders.files import sha256_file
from shards.pipeline.maker import ShardMaker, worker_count
from tests.shards.helpers import standin

THREADS = ("read", "code", "write")  # beginnings of the names of the maker's threads


@pytest.fixture
def maker_of(tmp_path, photo_folder):
    """Opens makers of a cache of so many photos, two a shard by default; ends them and sees that no thread is left."""
    opened = []

    def start(photos, *, spoil=(), teacher=None, samples_per_shard=2, batch_size=2, **options):
        folder = photo_folder(photos)
        for number in spoil:
            (folder / f"p{number:03d}.jpg").write_bytes(b"junk")
        source = shards.open_source(folder)
        teacher = teacher or standin.standin_teacher(image_size=64)
        facts = {"teacher_name": "x", "teacher_sha256": "5a" * 32, "codec": "int8", "samples_per_shard": samples_per_shard}
        identity = shards.wanted_identity(source, teacher=teacher, **facts)
        call = {"teacher": teacher, "identity": identity, "folder": tmp_path, "batch_size": batch_size}
        opened.append(ShardMaker(source, **call, **options))
        return opened[-1]

    yield start
    for maker in opened:
        maker.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(THREADS)]


def test_shards_come_in_the_order_asked_for_with_the_checksum_of_their_file(maker_of):
    made = list(maker_of(9).make([3, 0, 4]))
    assert [shard.entry.name for shard in made] == ["train-000003.tar", "train-000000.tar", "train-000004.tar"]
    assert [shard.entry.keys for shard in made] == [("p006", "p007"), ("p000", "p001"), ("p008",)]
    for shard in made:
        assert (shard.entry.bytes, shard.entry.sha256) == (shard.temporary.stat().st_size, sha256_file(shard.temporary))
        assert not shard.path.exists()


def test_shards_are_asked_for_at_most_two_ahead(maker_of):
    pulled = []

    def lazily():
        for index in range(7):
            pulled.append(index)
            yield index

    ahead = [len(pulled) - 1 - shard.index for shard in maker_of(14).make(lazily())]
    assert max(ahead) == 2 and len(ahead) == 7


def test_everything_of_a_shard_is_told_before_anything_of_the_next(maker_of):
    events = []
    maker = maker_of(9, spoil=(1, 4, 5), samples_per_shard=3)
    for shard in maker.make(
        range(3),
        progress=lambda batch: events.append((batch.index, batch.photos)),
        reject=lambda index, bad: events.append((index, bad.key)),
    ):
        events.append((shard.index, [bad["key"] for bad in shard.entry.quarantined]))
    assert events == [
        *[(0, "p001"), (0, 3), (0, ["p001"])],
        *[(1, "p004"), (1, "p005"), (1, 3), (1, ["p004", "p005"])],
        *[(2, 2), (2, 1), (2, [])],
    ]


def fail(*_):
    raise InputError("too many")


def break_teacher(maker):
    maker._stages.teacher.launch = fail


def break_reading(maker):
    maker._stages.source.photo = lambda item, **_: 1 / 0


def break_coding(maker):
    object.__setattr__(maker._stages, "code", lambda photo, embedding: 1 / 0)


@pytest.mark.parametrize("breaking", [break_teacher, break_reading, break_coding])
def test_an_error_in_any_stage_ends_all_and_leaves_no_file(maker_of, tmp_path, breaking):
    maker = maker_of(12)
    breaking(maker)
    with pytest.raises((InputError, ZeroDivisionError)):
        list(maker.make(range(6)))
    assert not list(tmp_path.glob("*.tmp"))


def test_a_full_disk_ends_all_with_its_path_and_leaves_no_file(maker_of, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"train-000000\.tar cannot be written \(No space left on device"):
        list(maker_of(12).make(range(6)))
    assert not list(tmp_path.glob("*.tmp"))


def test_a_caller_that_refuses_a_photo_ends_all_and_the_maker_can_go_on(maker_of, tmp_path):
    maker = maker_of(12, spoil=(4,))
    with pytest.raises(InputError, match="too many"):
        for shard in maker.make(range(6), reject=fail):
            shard.publish()
    assert sorted(path.name for path in tmp_path.glob("*.t*")) == ["train-000000.tar", "train-000001.tar"]
    assert [shard.index for shard in maker.make([4])] == [4]


def test_a_caller_that_stops_keeps_the_shards_it_got(maker_of, tmp_path):
    making = maker_of(12).make(range(6))
    first = next(making)
    making.close()
    assert list(tmp_path.glob("*.tmp")) == [first.temporary]


def test_a_finished_shard_of_another_process_is_not_overwritten(maker_of, tmp_path):
    first, second, third = maker_of(2).make([0, 0, 0])
    assert first.publish()
    first.path.write_bytes(b"another's")
    assert not second.publish()
    assert first.path.read_bytes() == b"another's"
    assert third.publish(replace=True)
    assert sha256_file(third.path) == third.entry.sha256
    assert not list(tmp_path.glob("*.tmp"))


def test_a_shard_whose_file_was_removed_says_so(maker_of):
    [made] = maker_of(2).make([0])
    made.discard()
    with pytest.raises(FileNotFoundError):
        made.publish()


def test_a_short_batch_is_padded_for_a_compiled_teacher_only(maker_of):
    teacher = standin.standin_teacher(image_size=64)
    seen = []
    forward = teacher.image_encoder.forward

    def record(frames):
        seen.append(len(frames))
        return forward(frames)

    teacher.image_encoder.forward = record
    maker = maker_of(5, teacher=teacher, samples_per_shard=5)
    [plain] = maker.make([0])
    teacher.image_encoder._compiled_call_impl = record
    [padded] = maker.make([0])
    assert seen == [2, 2, 1, 2, 2, 2]
    assert padded.entry.sha256 == plain.entry.sha256


def test_the_number_of_threads(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {1, 4, 7}, raising=False)
    assert (worker_count(None), worker_count(2)) == (3, 2)
    with pytest.raises(InputError, match="decode_workers=0; expected at least 1"):
        worker_count(0)
