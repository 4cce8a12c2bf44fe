"""Many processes, one cache: whoever is killed, stopped, late or alone, the bytes are those of one calm process."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError
from shards.pipeline.lease import Leases
from shards.pipeline.progress import PROGRESS_FILE
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


def disturb(source: Path, out: Path, started: list[BaseProcess], *, kills: int, seed: int, seconds: float) -> None:
    """Two processes work on a cache; at random moments one or both are killed, and started again."""
    rng = random.Random(seed)

    def start(rank: int) -> BaseProcess:
        started.append(begin(source, out, rank=rank, world_size=2, pause_seconds=0.1))
        return started[-1]

    running = [start(0), start(1)]
    while kills:
        time.sleep(rng.uniform(0.02, seconds))
        victims = [0, 1] if kills > 1 and rng.random() < 0.25 else [rng.randrange(2)]
        for rank in victims:
            kill(running[rank])
            kills -= 1
        for rank in victims:
            running[rank] = start(rank)
    assert not (out / "manifest.jsonl").exists(), "nothing was left to do when the last was killed"
    assert wait(*running) == [0, 0]


def check_disturbed(folder: Path, tmp_path: Path, started: list[BaseProcess], *, kills: int, seconds: float) -> None:
    (folder / "p011.jpg").write_bytes(b"junk")
    calm, out = tmp_path / "calm", tmp_path / "killed"
    standin.run(folder, calm, max_bad_fraction=0.2)
    disturb(folder, out, started, kills=kills, seed=5, seconds=seconds)
    assert content(out) == content(calm)
    assert len((out / "quarantine.jsonl").read_text().splitlines()) == 1
    assert {path.name for path in out.iterdir()} - set(content(out)) == {PROGRESS_FILE}


def test_three_kills_of_two_processes_leave_no_trace(tmp_path, photo_folder, started):
    check_disturbed(photo_folder(41), tmp_path, started, kills=3, seconds=0.5)


@pytest.mark.slow
def test_25_kills_of_two_processes_leave_no_trace(tmp_path, photo_folder, started):
    """Takes about a minute."""
    check_disturbed(photo_folder(298), tmp_path, started, kills=25, seconds=0.6)


@pytest.mark.slow  # 12 s: four processes
def test_any_number_of_processes_from_any_moment_on_make_the_same_cache(tmp_path, photo_folder, started):
    folder = photo_folder(18)
    standin.run(folder, tmp_path / "one")
    out = tmp_path / "many"
    started.append(begin(folder, out, pause_seconds=0.1))
    while not list(out.glob("train-*.tar")):
        time.sleep(0.01)
    started += [begin(folder, out, rank=rank, world_size=2, pause_seconds=0.05) for rank in (1, 0)]
    assert wait(*started) == [0, 0, 0]
    assert content(out) == content(tmp_path / "one")
    lines = [json.loads(line) for line in (out / PROGRESS_FILE).read_text().splitlines()]
    assert [line["shards"] for line in lines] == sorted(line["shards"] for line in lines)
    assert (lines[-1]["photos"], lines[-1]["shards"]) == (18, 4)
    assert any(line["photos"] > line["photos_made"] for line in lines)


def test_a_process_that_hangs_loses_its_shard_and_does_no_harm_when_it_wakes(tmp_path, photo_folder, started):
    folder = photo_folder(13)
    standin.run(folder, tmp_path / "calm")
    out = tmp_path / "hung"
    hung = begin(folder, out, pause_seconds=0.2, lease_seconds=1)
    started.append(hung)
    while not list(out.glob("work/shards/*.lease")):
        time.sleep(0.01)
    os.kill(hung.pid, signal.SIGSTOP)
    started.append(begin(folder, out, lease_seconds=1))
    assert wait(started[1]) == [0]
    assert content(out) == content(tmp_path / "calm")
    os.kill(hung.pid, signal.SIGCONT)
    assert wait(hung) == [0]
    assert content(out) == content(tmp_path / "calm")
    assert not list(out.glob("*.tmp"))


def test_a_rank_that_never_starts_leaves_nothing_undone(tmp_path, photo_folder):
    summary = standin.run(photo_folder(13), tmp_path / "out", rank=1, world_size=3)
    assert summary.complete and summary.shards_made == 3
    assert shards.Manifest.read(tmp_path / "out").samples == 13


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
    finished = {"rank": 0, "world_size": 4, "max_bad_fraction": 0.1}

    def second_process(state: shards.PrecomputeProgress) -> None:
        if (state.photos, state.shards) == (5, 1):  # the first has just finished shard 0
            with pytest.raises(InputError, match="3 photos of 20 .* allows 2: p001: .*; p006: .*; p011: "):
                standin.run(folder, out, **finished | {"rank": 1})

    with pytest.raises(InputError, match="3 photos of 20 .* allows 2"):
        standin.run(folder, out, progress=second_process, **finished)
    assert not (out / "manifest.jsonl").exists()
    assert [json.loads(line)["key"] for line in (out / "quarantine.jsonl").read_text().splitlines()] == [
        "p001",
        "p006",
        "p011",
    ]


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


def test_processes_that_begin_at_once_agree_on_the_first_ones_cache(tmp_path, photo_folder, started):
    folder, out = photo_folder(13), tmp_path / "out"
    started += [begin(folder, out, codec=codec, rank=r, world_size=2) for r, codec in enumerate(("int8", "fp16"))]
    codes = wait(*started)
    assert sorted(codes) == [0, 1]  # the second was refused: a cache of another codec
    manifest = shards.Manifest.read(out)
    assert {entry.codec for entry in manifest.entries} == {("int8", "fp16")[codes.index(0)]}
    assert manifest.samples == 13


def test_the_clock_of_this_machine_does_not_matter(tmp_path, monkeypatch):
    held = Leases(tmp_path, seconds=30).take("a")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert held is not None and Leases(tmp_path, seconds=30).take("a") is None
