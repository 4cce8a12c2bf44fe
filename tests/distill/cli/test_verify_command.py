"""`repvit-sam cache verify`: what it prints, how it ends, and that --repair leaves the cache as it was."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import encoders
from distill.cli.app import main
from distill.cli.verify import why_changed
from encoders.files import sha256_file
from encoders.weights.checkpoint import save_sam

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch, capsys) -> Run:
    """Runs a command here; exit code, stdout, stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["repvit-sam", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return command


@pytest.fixture
def cache(run: Run, tiny_cache: Path, tmp_path: Path) -> Path:
    """14 photos through sam_demo at 64 px by the command itself: three shards."""
    settings: dict[str, Any] = {"source": {"path": str(tiny_cache.parent / "photos")}, "out": str(tmp_path / "cache")}
    settings |= {"teacher": {"model": "sam_demo", "image_size": 64}, "samples_per_shard": 5, "batch_size": 2}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(settings))
    assert run("precompute", "--config", tmp_path / "job.yaml")[0] == 0
    return tmp_path / "cache"


def content(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir() if path.name != "progress.jsonl"}


@pytest.mark.parametrize("checksum", [encoders.tensors_sha256, encoders.weights_sha256], ids=["tensors", "file"])
def test_a_cache_json_that_is_damaged_or_lost_is_made_again(run, cache, checksum):
    """Caches of earlier releases know their teacher by the checksum of its file."""
    path = cache / "cache.json"
    for file in (path, cache / "manifest.jsonl"):
        file.write_text(file.read_text().replace(encoders.tensors_sha256("sam_demo"), checksum("sam_demo")))
    before = content(cache)
    path.write_bytes(path.read_bytes()[:50])
    assert run("cache", "verify", cache, "--repair")[0] == 0 and content(cache) == before
    path.unlink()
    assert run("cache", "verify", cache, "--repair")[0] == 0 and content(cache) == before


def damage(cache: Path) -> None:
    """A flipped bit in one shard, the end of another gone."""
    data = bytearray((cache / "train-000000.tar").read_bytes())
    data[5000] ^= 4
    (cache / "train-000000.tar").write_bytes(data)
    (cache / "train-000002.tar").write_bytes((cache / "train-000002.tar").read_bytes()[:-20_000])


def test_a_cache_is_verified_damaged_found_and_repaired_to_the_same_bytes(run, cache):
    before = content(cache)
    code, out, err = run("cache", "verify", cache, "--samples", 5, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["ok"] and facts["problems"] == [] and facts["rerun"] is None
    assert (facts["shards"], facts["photos"], facts["recomputed"]) == (3, 14, 5)
    assert 0 < facts["worst_error"] < 0.05 and "checked shard 3/3" in err

    damage(cache)
    code, out, _ = run("cache", "verify", cache)
    assert code == 1
    assert "problem: train-000000.tar: sha256 is " in out and "problem: train-000002.tar: was cut off: " in out
    advice = f"make again train-000000.tar, train-000002.tar: repvit-sam cache verify {cache} --repair"
    assert out.splitlines()[-1] == f"rerun: {advice}"

    moved = cache.with_name("moved")  # --repair works on the folder given, wherever it was made
    shutil.copytree(cache, moved)
    for folder in (cache, moved):
        code, out, _ = run("cache", "verify", folder, "--repair", "--json")
        facts = json.loads(out)
        assert code == 0 and facts["ok"] and facts["changed"] == [] and facts["problems"] == []
        assert facts["repaired"] == ["train-000000.tar", "train-000002.tar"]
        assert facts["found"][0]["where"] == "train-000000.tar" and facts["found"][0]["remedy"] == "redo"
        assert content(folder) == before


def test_a_repair_after_an_interrupted_one_says_what_each_of_them_made(run, tiny_cache, tmp_path):
    cache = shutil.copytree(tiny_cache, tmp_path / "cache")
    job = {"source": {"path": str(tiny_cache.parent / "photos")}, "teacher": {"model": "sam_demo", "image_size": 64}}
    (cache / "config.yaml").write_text(yaml.safe_dump(job | {"out": str(cache), "samples_per_shard": 5, "batch_size": 2}))
    before = {path.name: sha256_file(path) for path in cache.glob("train-*.tar")}
    lines = (cache / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    for name in ("shards", "processes"):  # two shards were removed, one of them was made again, then the process was killed
        (cache / "work" / name).mkdir(parents=True)
    (cache / "work" / "shards" / "train-000000.tar.json").write_bytes(lines[0])
    (cache / "train-000002.tar").unlink()
    (cache / "manifest.jsonl").write_bytes(lines[1])
    code, out, _ = run("cache", "verify", cache, "--samples", 0, "--repair", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["ok"] and not (cache / "work").exists()
    assert (facts["repaired"], facts["made_before"]) == (["train-000002.tar"], ["train-000000.tar"])
    assert {path.name: sha256_file(path) for path in cache.glob("train-*.tar")} == before


def test_a_cache_remembers_its_teachers_precision(run, cache, tmp_path):
    half = cache.with_name("bf16")
    job = ("precompute", "--config", tmp_path / "job.yaml", "--set", "teacher.precision=bf16")
    assert run(*job, "--set", f"out={half}")[0] == 0
    code, out, _ = run("cache", "verify", half, "--teacher", "sam_demo", "--samples", 5, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["ok"] and facts["recomputed"] == 5
    code, _, err = run(*job)
    assert code == 2 and "another precision of the teacher (preprocess_version is sam-antialias-1 there, " in err
    assert "sam-antialias-1+bf16 now)" in err


def test_another_teacher_is_a_failure_that_says_to_make_the_cache_again(run, cache, tmp_path):
    save_sam(encoders.build_sam("repvit_m0_6", image_size=64), tmp_path / "other.safetensors")
    code, out, _ = run("cache", "verify", cache, "--teacher", tmp_path / "other.safetensors")
    assert code == 1
    assert "problem: cache.json: the cache was made by teacher sam_demo (sha256 " in out
    assert "rerun: make the cache again in another folder: repvit-sam precompute --config " in out
    code, _, err = run("cache", "verify", cache, "--teacher", tmp_path / "other.safetensors", "--repair")
    assert code == 2 and "cannot be repaired" in err


def test_bad_input_ends_with_2_and_says_what_to_do(run, cache, tmp_path):
    code, out, err = run("cache", "verify", tmp_path / "none")
    assert code == 2 and out == "" and "holds no cache" in err
    (cache / "config.yaml").unlink()
    code, _, err = run("cache", "verify", cache)
    assert code == 2 and "--samples 0" in err
    assert run("cache", "verify", cache, "--samples", 0)[0] == 0
    (cache / "cache.json").write_text("no json")
    code, out, _ = run("cache", "verify", cache)
    assert code == 1 and "problem: cache.json: " in out


def test_a_repair_removes_nothing_outside_of_the_cache(run, cache, tmp_path):
    before = content(cache)
    thesis = tmp_path / "precious" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    (cache / "train-").mkdir()
    line = json.loads((cache / "manifest.jsonl").read_text().splitlines()[0])
    with (cache / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(line | {"name": "train-/../../precious/thesis.txt"}) + "\n")
    code, out, _ = run("cache", "verify", cache, "--samples", 0, "--repair")
    assert code == 0 and "found: manifest.jsonl: line 4 cannot be used (name: " in out
    (cache / "train-").rmdir()
    assert thesis.read_text() == "years of work" and content(cache) == before


def test_cache_json_is_compared_with_the_photos_where_they_are_at_hand(run, cache, tmp_path):
    facts = json.loads(run("cache", "verify", cache, "--samples", 0, "--json")[1])
    assert facts["ok"] and facts["source"] == "the same"
    whole = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(json.dumps(whole | {"source_sha256": "ee" * 32}))
    code, out, _ = run("cache", "verify", cache, "--samples", 0)
    assert code == 1 and "problem: cache.json: source_sha256 is eeee" in out and "so precompute refuses to go on" in out
    code, _, err = run("precompute", "--config", tmp_path / "job.yaml")
    assert code == 2 and "whose photos have changed" in err
    code, _, err = run("cache", "verify", cache, "--samples", 0, "--repair")
    assert code == 2 and "remove cache.json and run cache verify --repair" in err
    (cache / "cache.json").unlink()
    assert run("cache", "verify", cache, "--samples", 0, "--repair")[0] == 0
    assert json.loads((cache / "cache.json").read_text()) == whole

    job = yaml.safe_load((cache / "config.yaml").read_text())
    (cache / "config.yaml").write_text(yaml.safe_dump(job | {"source": {"path": str(tmp_path / "gone")}}))
    facts = json.loads(run("cache", "verify", cache, "--samples", 0, "--json")[1])
    assert facts["ok"] and facts["source"].startswith(f"not compared: {tmp_path / 'gone'} does not exist")


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"[]", b'{"name": [1]}', b"7"], ids=range(5))
@pytest.mark.parametrize("name", ["cache.json", "manifest.jsonl"])
def test_damaged_files_of_a_cache_are_findings_and_bad_input_never_a_traceback(run, tiny_cache, tmp_path, name, content):
    copy = shutil.copytree(tiny_cache, tmp_path / "cache")
    (copy / name).write_bytes(content + b"\n")
    code, out, _ = run("cache", "verify", copy, "--samples", 0)
    assert code == 1 and f"problem: {name}: " in out
    code, _, err = run("cache", "stats", copy)
    assert code == 2 and name in err and "cannot be read" in err


def test_a_repair_that_makes_other_bytes_says_why_that_may_be(run, cache):
    """As after an encoder that changed: the manifest knows another checksum."""
    lines = (cache / "manifest.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    lines[0] = json.dumps(first | {"sha256": "ab" * 32}, sort_keys=True, separators=(",", ":"))
    (cache / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    code, out, _ = run("cache", "verify", cache, "--samples", 0, "--repair", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["ok"] and facts["changed"] == ["train-000000.tar"]
    assert "first made by another kind of machine, or another batch size, that is" in facts["note"]
    assert "or an earlier release: int4 is encoded in another way now (encoder 2)" in why_changed("int4")
    assert "note" not in json.loads(run("cache", "verify", cache, "--samples", 0, "--repair", "--json")[1])
