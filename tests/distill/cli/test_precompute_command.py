"""`precompute` by several processes that share the work, and what a launcher tells a process of its rank."""

import json
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from distill.cli.app import main
from distill.cli.precompute import quarantine_list
from distill.launching.launch import launch
from distill.launching.world import World, read_world
from encoders.errors import InputError
from shards import Manifest


@pytest.fixture
def job(tiny_cache: Path, tmp_path: Path) -> Path:
    """A precompute config of the same photos as the tiny cache, two to a shard, into tmp_path/cache."""
    source = {"path": str(tiny_cache.parent / "photos")}
    path = tmp_path / "job.yaml"
    settings = {"source": source, "teacher": {"model": "sam_demo", "image_size": 64}, "out": str(tmp_path / "cache")}
    path.write_text(yaml.safe_dump(settings | {"samples_per_shard": 2, "batch_size": 2}))
    return path


@pytest.mark.slow
def test_two_processes_make_one_cache(job, start, tiny_cache, tmp_path):
    """Takes about 20 seconds."""
    process = start("precompute", "--config", job, "--num-processes", 2, "--json")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    facts = json.loads(out)
    assert facts["photos"] == 14 and facts["shards"] == 7 and facts["quarantined"] == 0 and facts["complete"]
    together = Manifest.read(tmp_path / "cache")
    alone = [key for entry in Manifest.read(tiny_cache).entries for key in entry.keys]
    assert [key for entry in together.entries for key in entry.keys] == alone
    assert yaml.safe_load((tmp_path / "cache" / "config.yaml").read_text())["codec"] == "int8"


def test_a_dry_run_prints_the_plan_and_makes_nothing(job, tmp_path, monkeypatch, capsys):
    arguments = ["precompute", "--config", str(job), "--dry-run", "--num-processes", "3", "--json"]
    monkeypatch.setattr(sys, "argv", ["repvit-sam", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert stopped.value.code == 0 and "planning for 14 photos" in err
    assert (facts["photos"], facts["shards"], facts["processes"], facts["codec"]) == (14, 7, 3, "int8")
    assert (facts["views"], facts["samples"], facts["samples_done"]) == (1, 14, 0)
    assert facts["bytes"] == 14 * facts["bytes_per_sample"] > 14 * 1024
    assert facts["samples_per_second"] > 0 and facts["bytes_free"] > 0
    assert not (tmp_path / "cache").exists()


def test_photos_and_views_are_counted_apart(job, tmp_path, command):
    options = (
        "--config",
        job,
        "--set",
        "codec_gate=false",
        "--set",
        "source.views=2",
        "--set",
        "source.names=" + str(tmp_path / "names.txt"),
    )
    (tmp_path / "names.txt").write_text("p01.jpg\np02.jpg\np04.jpg\n")
    code, out, error = command("precompute", *options, "--dry-run", "--json")
    facts = json.loads(out)
    assert code == 0 and "planning for 6 samples (3 photos x 2 views) of " in error
    assert (facts["photos"], facts["views"], facts["samples"], facts["shards"]) == (3, 2, 6, 3)
    code, out, error = command("precompute", *options, "--json")
    facts = json.loads(out)
    assert code == 0 and "6 of 6 samples (3 photos x 2 views), 0 quarantined, 3 of 3 shards" in error
    assert (facts["photos"], facts["views"], facts["samples"], facts["quarantined"]) == (3, 2, 6, 0)
    assert json.loads((tmp_path / "cache" / "channels.json").read_text())["samples"] == 6
    again = ("precompute", *options, "--set", "source.view_recipe.kind=jitter", "--json")
    code, _, error = command(*again)
    assert code == 2 and "views2@seed=0 there" in error and "views2(jitter1,scale=1-2.5)@seed=0 now" in error
    assert command(*again, "--set", f"out={tmp_path / 'other'}")[0] == 0


def test_photos_left_out_are_counted_and_their_list_is_named(job, tiny_cache, tmp_path, command):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("p01.jpg", "p02.jpg"):
        (photos / name).write_bytes((tiny_cache.parent / "photos" / name).read_bytes())
    (photos / "notes.jpg").write_text("not a photo")
    settings = (f"source.path={photos}", "codec_gate=false", "max_bad_fraction=0.5")
    code, out, error = command("precompute", "--config", job, *(word for one in settings for word in ("--set", one)))
    assert code == 0, error
    listed = tmp_path / "cache" / "quarantine.jsonl"
    assert "quarantined: 1\n" in out and f"quarantine: {listed}\n" in out and "notes.jpg" in listed.read_text()


def test_the_list_of_photos_left_out_is_named_where_there_are_some():
    assert quarantine_list({"quarantined": 2}, folder=Path("cache")) == {"quarantine": "cache/quarantine.jsonl"}
    assert quarantine_list({"quarantined": 0}, folder=Path("cache")) == {}
    assert quarantine_list({}, folder=Path("cache")) == {}  # of a dry run


def test_a_url_of_no_store_is_refused_before_anything_is_loaded_and_makes_no_folder(job, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (("--set", "out=foo://bucket/cache"), ("--set", "out=foo://bucket/cache", "--dry-run")):
        code, _, error = command("precompute", "--config", job, "--set", "teacher.model=absent.pth", *arguments)
        assert code == 2 and "foo://bucket/cache cannot be used: ValueError: Protocol not known: foo" in error
    assert not (tmp_path / "foo:").exists()


def test_a_folder_that_cannot_be_made_is_said_before_the_teacher_is_loaded(job, tmp_path, command):
    (tmp_path / "file").write_text("")
    arguments = ("--set", f"out={tmp_path}/file/cache", "--set", "teacher.model=absent.pth")
    code, _, error = command("precompute", "--config", job, *arguments)
    assert code == 2 and "Traceback" not in error
    assert f"/file/cache cannot be made a folder ({tmp_path}/file is a file)" in error


def test_a_full_disk_ends_with_exit_code_2_and_the_same_command_goes_on(job, tmp_path, command):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "progress.jsonl").symlink_to("/dev/full")  # each write to it says that no space is left
    arguments = ("precompute", "--config", job, "--set", "codec_gate=false", "--json")
    code, _, error = command(*arguments)
    assert code == 2 and "Traceback" not in error
    assert "progress.jsonl cannot be written (No space left on device, " in error
    assert "make room there and run the same command again: finished shards are kept" in error
    (tmp_path / "cache" / "progress.jsonl").unlink()
    code, out, _ = command(*arguments)
    assert code == 0 and json.loads(out)["shards_made"] == 6 and json.loads(out)["shards"] == 7


@pytest.mark.slow  # 12 s: three processes; engines/test_local_engine.py kills workers that do next to nothing
def test_a_process_that_is_killed_is_replaced(job, start, tmp_path):
    process = start("precompute", "--config", job, "--num-processes", 2, "--json")
    while not list((tmp_path / "cache" / "work" / "shards").glob("*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    worker = psutil.Process(process.pid).children()[0]
    assert str(tmp_path / "cache") in worker.cmdline()
    worker.kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert json.loads(out)["photos"] == 14 and json.loads(out)["complete"]
    assert "was ended by signal 9 (SIGKILL)" in err and "another one does what it left" in err


@pytest.mark.slow
def test_an_error_in_the_processes_is_the_commands_own(job, start, tmp_path):
    process = start("precompute", "--config", job, "--num-processes", 2, "--set", f"source.path={tmp_path}/none")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 2 and out == ""
    assert f"{tmp_path}/none does not exist" in err and "Traceback" not in err


def test_a_launcher_says_where_this_process_is():
    assert read_world({}) == World(rank=0, world_size=1, local_rank=0)
    assert read_world({"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}) == World(9, 16, 1)


@pytest.mark.parametrize("environment", [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "1"}, {"WORLD_SIZE": "two"}])
def test_a_place_that_cannot_be_is_refused(environment):
    with pytest.raises(InputError, match="WORLD_SIZE"):
        read_world(environment)


def test_the_accelerator_can_be_kept_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert World(local_rank=3).device == torch.device("cpu")
    monkeypatch.delenv("DS_ACCELERATOR")
    assert World(local_rank=3).device == torch.device("cuda", 3)


def test_fewer_than_one_process_is_refused():
    with pytest.raises(InputError, match="expected at least 1"):
        launch([], num_processes=0)
