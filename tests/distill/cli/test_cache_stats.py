"""`repvit-sam cache stats`: what it counts, what it measures, and whose teacher it takes."""

import json
import shutil
import sys
import tarfile

import pytest
import yaml

import encoders
import shards
from distill.cli.app import main
from distill.cli.cache import stats_facts
from distill.config.reading import write_config
from distill.config.runs import PrecomputeConfig
from encoders.errors import InputError
from shards.codec.base import Gate
from shards.codec.records import CODECS

MEASURED = ("relative_mse", "cosine", "mask_iou", "score_difference")


def test_the_figures_of_an_int8_cache(tiny_cache, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["repvit-sam", "cache", "stats", str(tiny_cache), "--samples", "4", "--json"])
    with pytest.raises(SystemExit) as stopped:
        main()
    facts = json.loads(capsys.readouterr().out)
    assert stopped.value.code == 0
    assert (facts["codec"], facts["photos"], facts["quarantined"], facts["samples"]) == ("int8", 14, 0, 4)
    assert (facts["shards"], facts["shards_total"], facts["complete"]) == (3, 3, True)
    assert facts["bytes"] == sum(path.stat().st_size for path in tiny_cache.glob("*.tar"))
    assert 0 < facts["relative_mse"] < 2e-4 and 0.9999 < facts["cosine"] <= 1
    assert 0.99 <= facts["mask_iou"] <= 1 and 0 < facts["score_difference"] < 0.01
    assert facts["prompts"] == 4 * 16 and facts["gate"] == "met"


def test_bytes_per_sample_are_what_the_tars_hold_beside_the_jpegs(tiny_cache):
    facts = stats_facts(tiny_cache, samples=14)
    beside = 0
    for path in tiny_cache.glob("*.tar"):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        ends = [*(member.offset for member in members[1:]), members[-1].offset_data + -(-members[-1].size // 512) * 512]
        beside += sum(
            end - member.offset for member, end in zip(members, ends, strict=True) if not member.name.endswith(".jpg")
        )
    assert facts["bytes_per_sample"] == pytest.approx(beside / 14, abs=0.06)
    assert facts["embedding_bytes"] < facts["bytes_per_sample"] - 1024


def test_the_sample_follows_the_seed(tiny_cache):
    first, again, other = (stats_facts(tiny_cache, samples=3, seed=seed) for seed in (0, 0, 1))
    assert first == again and first["relative_mse"] != other["relative_mse"]


def test_without_the_teacher_the_rest_is_printed(tiny_cache, tmp_path):
    cache = shutil.copytree(tiny_cache, tmp_path / "cache")
    job = PrecomputeConfig.model_validate({"source": {"path": "x"}, "teacher": {"model": "gone.pth"}, "out": "y"})
    write_config(job, cache / "config.yaml")
    facts = stats_facts(cache, samples=2)
    assert facts["photos"] == 14 and all(facts[name] is None for name in MEASURED)
    assert "--teacher" in facts["note"] and "gone.pth does not exist" in facts["note"]
    assert stats_facts(cache, samples=2, teacher="sam_demo")["mask_iou"] > 0.99


def test_another_teacher_is_refused_with_both_checksums(tiny_cache, tmp_path):
    other = tmp_path / "other.safetensors"
    encoders.save_sam(encoders.build_sam("repvit_m0_6", image_size=64), other)
    with pytest.raises(InputError) as caught:
        stats_facts(tiny_cache, samples=2, teacher=str(other))
    assert encoders.weights_sha256("sam_demo") in str(caught.value) and encoders.tensors_sha256(other) in str(caught.value)


def test_an_unfinished_cache_is_counted_too(tiny_cache, tmp_path):
    cache = shutil.copytree(tiny_cache, tmp_path / "cache")
    lines = (cache / "manifest.jsonl").read_text().splitlines(keepends=True)
    (cache / "manifest.jsonl").write_text(lines[0] + lines[1])
    facts = stats_facts(cache, samples=2)
    assert (facts["shards"], facts["shards_total"], facts["complete"], facts["photos"]) == (2, 3, False, 10)
    (cache / "manifest.jsonl").write_text("")
    facts = stats_facts(cache, samples=2)
    assert (facts["shards"], facts["photos"], facts["samples"], facts["mask_iou"]) == (0, 0, 0, None)


def test_damaged_samples_are_named_instead_of_measured(tiny_cache, tmp_path):
    cache = shutil.copytree(tiny_cache, tmp_path / "cache")
    reader = shards.ShardReader(shards.Manifest.read(cache))
    path = cache / "train-000001.tar"
    content = path.read_bytes()
    for sample, part in ((reader.read(1, 0), "jpeg"), (reader.read(1, 2), "record")):
        whole = getattr(sample, part)
        content = content.replace(whole, whole[:-20] + bytes(20))
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        stats_facts(cache, samples=14, teacher="gone.pth")
    assert f"2 of 14 samples drawn from {cache} cannot be measured: train-000001.tar: sample p05: its " in str(caught.value)
    assert "; train-000001.tar: sample p07: the embedding record is damaged" in str(caught.value)
    assert str(caught.value).endswith(f"repvit-sam cache verify {cache}")


def test_no_cache_and_no_samples_are_bad_input(tiny_cache, tmp_path):
    with pytest.raises(InputError, match="holds no cache"):
        stats_facts(tmp_path, samples=2)
    with pytest.raises(InputError, match="0 samples"):
        stats_facts(tiny_cache, samples=0)


def test_precompute_refuses_a_codec_below_its_gate_and_a_key_turns_that_off(tiny_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(CODECS["int4"], "gate", Gate(mask_iou=0.5, relative_mse=1e-6, instead="int8"), raising=False)
    job = {"source": {"path": str(tiny_cache.parent / "photos")}, "teacher": {"model": "sam_demo", "image_size": 64}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job | {"out": str(tmp_path / "cache"), "codec": "int4"}))
    arguments = ["repvit-sam", "precompute", "--config", str(tmp_path / "job.yaml")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "codec int4 loses too much" in error and "its gate is at most 1e-06" in error
    assert "use codec int8" in error and not (tmp_path / "cache" / "cache.json").exists()
    monkeypatch.setattr(sys, "argv", [*arguments, "--set", "codec_gate=false"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    facts = stats_facts(tmp_path / "cache", samples=3)
    assert facts["codec"] == "int4" and facts["gate"].startswith("missed: relative_mse")
