"""`repvit-sam eval -s agreement`: photos without annotations, a cache, what `masks` has written."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import encoders
from distill.jobs import own_photos
from eval_zeroshot.predictors import reference_masks


@pytest.fixture(autouse=True)
def _less_to_do(monkeypatch):
    """A coarse grid on small photos."""
    monkeypatch.setattr(reference_masks, "POINTS_PER_SIDE", 3)
    monkeypatch.setattr(own_photos, "LONGEST_SIDE", 100)


@pytest.fixture
def measure(command, tmp_path):
    """Exit code, results by suite and stderr of `eval -s agreement` of sam_demo at 64 px."""

    def run(*arguments, suites=("agreement",)):
        words = ["eval", "-m", "ours=sam_demo", "--image-size", 64, "--out", tmp_path / "out.jsonl", "--json", *arguments]
        code, out, err = command(*words, *(word for suite in suites for word in ("-s", suite)))
        return code, {line["suite"]: line for line in map(json.loads, out.splitlines())}, err

    return run


@pytest.fixture
def photos(tmp_path):
    """Two photos, one of them larger than what is looked at."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, size in (("small", (90, 60)), ("a large one", (150, 100))):
        pixels = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}.jpg")
    return folder


def test_a_folder_of_photos_with_the_teacher_named_alone(measure, photos, command, tmp_path):
    code, results, err = measure("--data", photos, "--reference", "sam_demo", "--baselines")
    assert code == 0, err
    code, results, err = measure("--data", photos, "--reference", "sam_demo")
    box, point = results["agreement_box"], results["agreement_point"]
    assert (box["value"], point["value"]) == (1.0, 1.0)  # the same weights at the same size
    assert (box["dataset"], box["images"], box["reference"]) == ("mine", 2, "sam_demo")
    assert box["n"] + box["skipped"]["empty"] == point["n"] > 2 and "at 64 px" in box["protocol"] and box["low"] == 1.0
    code, out, _ = command("compare", tmp_path / "out.jsonl", "--format", "markdown", "--no-published")
    assert code == 0 and "#### agreement_box on mine, n = " in out and "| filled box or disc (baseline) |" in out


def test_a_reference_among_the_models_is_the_teacher_in_the_table(measure, photos):
    code, results, err = measure("--data", photos, "--reference", "ours", suites=["agreement_box"])
    assert code == 0, err
    assert results["agreement_box"]["role"] == "teacher" and list(results) == ["agreement_box"]


def test_a_cache_brings_its_teacher(measure, tiny_cache):
    code, results, err = measure("--data", tiny_cache, "--limit", 3)
    assert code == 0, err
    box, point = results["agreement_box"], results["agreement_point"]
    assert box["reference"] == "sam_demo" and box["images"] == 3 and "as the cache stores them" in box["protocol"]
    assert box["value"] > 0.9 and point["value"] > 0.6  # the same weights; the cache is int8, without padding, of 64 px


def test_another_teacher_of_a_cache_is_refused(measure, tiny_cache, tmp_path):
    other = encoders.load("sam_demo")
    other.mask_decoder.iou_token.weight.data[0, 0] += 1
    encoders.save_sam(other, tmp_path / "other.safetensors")
    code, _, err = measure("--data", tiny_cache, "--reference", tmp_path / "other.safetensors")
    assert code == 2 and "was made by sam_demo" in err and "has sha256" in err


def test_masks_of_everything_mode_are_prompts(measure, command, photos, tmp_path):
    words = ["--photos", photos, "--out", tmp_path / "masks", "--points", 2, "--min-iou", 0, "--min-stability", 0]
    code, _, err = command("masks", "-m", "sam_demo", "--image-size", 64, *words)
    assert code == 0, err
    code, _, err = measure("--data", tmp_path / "masks")
    assert code == 2 and "by --images" in err
    code, results, err = measure("--data", tmp_path / "masks", "--images", photos)
    assert code == 0, err
    count = sum(len(json.loads(path.read_text())["annotations"]) for path in (tmp_path / "masks").glob("*.json"))
    box = results["agreement_box"]
    assert box["n"] + box["skipped"]["empty"] == count and box["value"] == 1.0
    assert "masks that `repvit-sam masks` has written" in box["protocol"]
    (photos / "small.jpg").unlink()
    code, _, err = measure("--data", tmp_path / "masks", "--images", photos)
    assert code == 2 and "1 of 2 files of masks have no photo" in err and "small.json first" in err


def test_what_is_missing_is_said(measure, photos, tmp_path):
    code, _, err = measure("--data", photos)
    assert code == 2 and "needs a model to agree with: --reference" in err
    code, _, err = measure("--data", photos, suites=["box"])
    assert code == 2 and "photos without annotations" in err and "-s agreement --reference TEACHER" in err
    code, _, err = measure("--data", photos, "--reference", "sam_demo", suites=["agreement", "box"])
    assert code == 2 and "box needs annotations" in err
    code, _, err = measure("--data", photos, "--reference", "sam_demo", "--split", "val")
    assert code == 2 and "--split is of no use for agreement" in err
    code, _, err = measure("--data", photos, "--reference", "sam_demo", "--clicks", 3)
    assert code == 2 and "--clicks is of no use for agreement" in err
    code, _, err = measure("--data", photos, suites=["agrement"])
    assert code == 2 and "did you mean agreement" in err
    (photos / "broken.jpg").write_bytes(b"no photo")
    code, _, err = measure("--data", photos, "--reference", "sam_demo")
    assert code == 2 and "broken.jpg" in err and "which continues" in err


def test_several_processes_share_the_photos(command, photos, tmp_path, monkeypatch):
    words = ["-m", "ours=sam_demo", "--image-size", 64, "--data", photos, "--reference", "sam_demo", "-s", "agreement"]
    words += ["--out", tmp_path / "shared.jsonl", "--json"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert command("eval", *words)[:2] == (0, "")
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    stored = sorted((tmp_path / "shared.state").glob("mine.reference.sam_demo.*.jsonl"))
    assert [path.name.split(".")[-2] for path in stored] == ["rank-0-of-2", "rank-1-of-2"]
    code, out, _ = command("eval", *words)
    assert code == 0 and [json.loads(line)["value"] for line in out.splitlines()] == [1.0, 1.0]
    assert sorted((tmp_path / "shared.state").glob("mine.reference.sam_demo.*.jsonl")) == stored  # nothing was asked again


def test_the_gallery_shows_the_references_masks(measure, photos, command, tmp_path):
    code, _, err = measure("--data", photos, "--reference", "sam_demo", "--limit", 1)
    assert code == 0, err
    page = tmp_path / "page.html"
    code, _, err = command("compare", tmp_path / "out.jsonl", "--html", page, "--data", photos, "--gallery-of", "ours")
    text = page.read_text()
    assert (code, err) == (0, "") and "The gallery" not in text
    assert text.count("Worst cases of ours") == 2 and "reference's mask of object" in text.replace("&#39;", "'")
    (tmp_path / "out.state" / "x.jsonl").write_text('{"prompts": 1}\n{"torn')
    assert command("compare", tmp_path / "out.jsonl", "--html", page, "--data", photos)[0] == 0
    shutil.rmtree(tmp_path / "out.state")
    code, _, err = command("compare", tmp_path / "out.jsonl", "--html", page, "--data", photos)
    assert code == 0 and "note: The gallery needs the observations that eval keeps in the .state folder" in err
