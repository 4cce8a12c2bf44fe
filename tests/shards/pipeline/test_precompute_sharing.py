"""Many processes, one cache: whoever is killed, late or missing, the bytes are those of one calm process."""

import json
import os
import random
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError
from encoders.locks import held
from shards.pipeline.lead import CacheLead, PassFacts, ShardNews
from shards.pipeline.progress import PROGRESS_FILE
from shards.pipeline.publishing import Publisher
from tests.shards.helpers import standin
from tests.shards.helpers.processes import begin, content, kill, wait


@pytest.fixture
def started() -> Iterator[list[BaseProcess]]:
    """Processes to end with the test."""
    processes: list[BaseProcess] = []
    yield processes
    for process in processes:
        process.kill()
        process.join()


def check_disturbed(folder: Path, tmp_path: Path, started: list[BaseProcess], *, kills: int, seconds: float) -> None:
    """Two ranks of a group are killed at random moments and started again."""
    (folder / "p011.jpg").write_bytes(b"junk")
    calm, out = tmp_path / "calm", tmp_path / "killed"
    standin.run(folder, calm, max_bad_fraction=0.2)
    rng = random.Random(5)

    def start(rank: int) -> BaseProcess:
        started.append(begin(folder, out, rank=rank, world_size=2, pause_seconds=0.1))
        return started[-1]

    running = [start(0), start(1)]
    for _ in range(kills):
        time.sleep(rng.uniform(0.02, seconds))
        rank = rng.randrange(2)
        if running[rank].is_alive():
            kill(running[rank])
        running[rank] = start(rank)
    assert wait(*running) == [0, 0]
    assert content(out) == content(calm)
    assert len((out / "quarantine.jsonl").read_text().splitlines()) == 1
    assert {path.name for path in out.iterdir()} - set(content(out)) == {PROGRESS_FILE}


@pytest.mark.slow  # 10 s: processes that take their time
def test_three_kills_of_two_ranks_leave_no_trace(tmp_path, photo_folder, started):
    check_disturbed(photo_folder(41), tmp_path, started, kills=3, seconds=0.5)


@pytest.mark.slow
def test_25_kills_of_two_ranks_leave_no_trace(tmp_path, photo_folder, started):
    """Takes about a minute."""
    check_disturbed(photo_folder(298), tmp_path, started, kills=25, seconds=0.6)


def test_each_rank_makes_its_share_and_whoever_finds_all_finished_completes_the_cache(tmp_path, photo_folder):
    folder, out = photo_folder(18), tmp_path / "out"
    standin.run(folder, tmp_path / "calm")
    made = []
    for rank in (3, 0, 2):  # rank 1 was killed before it began
        summary = standin.run(folder, out, rank=rank, world_size=4)
        assert not summary.complete
        made.append(summary.shards_made)
    assert made == [1, 1, 1] and not (out / "manifest.jsonl").exists()
    again = [standin.run(folder, out, rank=rank, world_size=4) for rank in range(4)]
    assert [one.shards_made for one in again] == [0, 1, 0, 0]
    assert [one.complete for one in again] == [False, True, True, True]
    assert content(out) == content(tmp_path / "calm")
    lines = [json.loads(line) for line in (out / PROGRESS_FILE).read_text().splitlines()]
    assert (lines[-1]["photos"], lines[-1]["shards"], lines[-1]["photos_total"]) == (18, 4, 18)
    assert any(line["photos"] > line["photos_made"] for line in lines)


def test_a_single_process_finishes_what_a_group_left(tmp_path, photo_folder):
    folder, out = photo_folder(13), tmp_path / "out"
    standin.run(folder, tmp_path / "calm")
    standin.run(folder, out, rank=1, world_size=3)
    assert standin.run(folder, out).shards_made == 2
    assert content(out) == content(tmp_path / "calm")


def test_a_second_call_by_hand_is_told_of_the_first_and_a_rank_of_a_group_is_not_stopped(tmp_path, photo_folder):
    folder, out = photo_folder(13), tmp_path / "out"
    standin.run(folder, out, rank=0, world_size=3)
    with held(out / "work" / "lock", use="makes shards"):
        said = rf"out/work is in use: process {os.getpid()} on .* makes shards there; wait for it, or end it"
        with pytest.raises(InputError, match=said):
            standin.run(folder, out)
        assert standin.run(folder, out, rank=1, world_size=3).shards_made == 1
    assert standin.run(folder, out).complete


def test_a_finished_shard_of_another_process_is_never_overwritten(tmp_path, photo_folder, monkeypatch):
    """Two GPU models make other bytes of one shard; here the other process wrote more padding."""
    folder, out = photo_folder(6), tmp_path / "out"
    standin.run(folder, tmp_path / "calm")
    theirs = (tmp_path / "calm" / "train-000000.tar").read_bytes() + bytes(10240)
    line = json.loads((tmp_path / "calm" / "manifest.jsonl").read_bytes().splitlines()[0])
    publish = Publisher.publish

    def late(self, made):
        if made.index == 0:  # the other process has published it a moment before
            (out / "work" / "shards" / "train-000000.tar.json").write_text(json.dumps(line | {"bytes": len(theirs)}) + "\n")
            (out / "train-000000.tar").write_bytes(theirs)
        return publish(self, made)

    monkeypatch.setattr(Publisher, "publish", late)
    summary = standin.run(folder, out)
    assert (summary.shards, summary.shards_made) == (2, 1)
    assert (out / "train-000000.tar").read_bytes() == theirs
    assert shards.Manifest.read(out).entries[0].bytes == len(theirs)
    assert not list(out.glob("*.tmp"))


def test_a_shard_without_its_entry_or_an_entry_without_its_shard_is_made_again(tmp_path, photo_folder):
    folder, out = photo_folder(13), tmp_path / "out"
    standin.run(folder, tmp_path / "calm")
    for rank in (0, 1):
        standin.run(folder, out, rank=rank, world_size=3)
    (out / "work" / "shards" / "train-000000.tar.json").unlink()  # killed between claim and name, and the other way round
    (out / "train-000000.tar").write_bytes(b"of a release that gave the name first")
    (out / "train-000001.tar").unlink()
    assert standin.run(folder, out).shards_made == 3
    assert content(out) == content(tmp_path / "calm")


def test_a_cache_begun_by_an_earlier_release_is_finished(tmp_path, photo_folder):
    folder = photo_folder(23)
    out = tmp_path / "out"
    standin.run(folder, out)
    before = content(out)
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (out / "manifest.jsonl").write_bytes(lines[3] + lines[0] + lines[1][:40])  # as finished, the last one torn
    for name in ("train-000001.tar", "train-000002.tar", "train-000004.tar"):
        (out / name).unlink()
    with pytest.raises(InputError, match="unfinished"):
        (out / "manifest.jsonl").write_bytes(lines[3] + lines[0])
        shards.Manifest.read(out)
    assert standin.run(folder, out).shards_made == 3
    assert content(out) == before


def test_a_shard_that_vanishes_while_others_are_made_is_made_again(tmp_path, photo_folder):
    folder = photo_folder(13)
    standin.run(folder, tmp_path / "calm")
    out = tmp_path / "out"

    def lose(state: shards.PrecomputeProgress) -> None:
        if state.shards == 2:
            (out / "train-000000.tar").unlink(missing_ok=True)

    assert standin.run(folder, out, progress=lose).shards_made == 4
    assert content(out) == content(tmp_path / "calm")


def test_too_many_bad_photos_are_too_many_over_all_processes_together(tmp_path, photo_folder):
    folder, out = photo_folder(20), tmp_path / "out"
    for number in (1, 6, 11):  # one in each of the first three shards of 5; 2 of 20 are allowed
        (folder / f"p{number:03d}.jpg").write_bytes(b"junk")
    group = {"world_size": 4, "max_bad_fraction": 0.1}
    standin.run(folder, out, rank=0, **group)
    standin.run(folder, out, rank=1, **group)
    with pytest.raises(InputError, match="3 photos of 20 .* allows 2: p001: .*; p006: .*; p011: "):
        standin.run(folder, out, rank=2, **group)
    assert not (out / "manifest.jsonl").exists()
    listed = [json.loads(line)["key"] for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert listed == ["p001", "p006", "p011"]


def test_the_folders_are_listed_as_often_for_many_shards_as_for_few(tmp_path, photo_folder, monkeypatch):
    folder, listed = photo_folder(8), []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(str(path)) or scandir(path))

    def count(name: str, samples_per_shard: int) -> int:
        listed.clear()
        standin.run(folder, tmp_path / name, samples_per_shard=samples_per_shard)
        wide = {str(tmp_path / name), str(tmp_path / name / "work" / "shards")}
        return sum(path in wide for path in listed)

    assert count("few", 4) == count("many", 1) > 0


@pytest.mark.slow  # 8 s: processes
def test_ranks_that_begin_at_once_agree_on_the_first_ones_cache(tmp_path, photo_folder, started):
    folder, out = photo_folder(13), tmp_path / "out"
    started += [begin(folder, out, codec=codec, rank=r, world_size=2) for r, codec in enumerate(("int8", "fp16"))]
    codes = wait(*started)
    assert sorted(codes) == [0, 1]  # the second was refused: a cache of another codec
    codec = ("int8", "fp16")[codes.index(0)]
    assert standin.run(folder, out, codec=codec).complete
    assert {entry.codec for entry in shards.Manifest.read(out).entries} == {codec}


def test_the_progress_of_a_cache_counts_the_most_workers_at_a_time(tmp_path, photo_folder):
    source, out = shards.open_source(photo_folder(6)), tmp_path / "out"
    call = {name: standin.CALL[name] for name in ("teacher_name", "teacher_sha256", "samples_per_shard")}
    identity = shards.wanted_identity(source, teacher=standin.standin_teacher(), codec="int8", **call)
    out.mkdir()
    with CacheLead(out, max_bad_fraction=0.2) as lead:
        lead.begin(PassFacts(identity=identity, photos=6, views=1))
        for workers in (1, 3, 2):
            lead.staffed(workers)
        lead.done(0, ShardNews(published=True, quarantined=()))
    assert json.loads((out / PROGRESS_FILE).read_text())["processes"] == 3
