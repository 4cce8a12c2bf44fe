"""`repvit-sam eval --no-padding`."""

import csv
import json
from functools import partial

import pytest
import torch

import encoders


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A RepViT of random weights with a file of its own."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "student.safetensors"
    encoders.save_sam(encoders.build_sam("repvit_m0_6", image_size=128), path)
    return path


@pytest.fixture
def measure(command, tmp_path):
    """Results by model, of `repvit-sam eval ARGUMENTS` on one photo, and what was printed."""
    common = ["eval", "-s", "box", "--data", "sample:val", "--limit", 1, "--image-size", 128, "--out", tmp_path / "r.jsonl"]

    def run(*arguments):
        code, out, err = command(*common, *arguments)
        assert code == 0, err
        return {line["model"]: line for line in map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())}, out

    return run


def test_results_say_which_were_without_padding_and_neither_is_taken_for_the_other(command, measure, weights, tmp_path):
    padded, text = measure("-m", f"same={weights}")
    assert "padding" not in padded["same"] and "padding" not in text
    state = sorted((tmp_path / "r.state").glob("*.jsonl"))
    unpadded, text = measure("-m", f"same={weights}", "--no-padding")
    assert unpadded["same"]["padding"] is False and "padding" in text
    assert len(sorted((tmp_path / "r.state").glob("*.jsonl"))) == len(state) + 1
    again, _ = measure("-m", f"same={weights}")
    assert again == padded

    both, _ = measure("-m", f"other={weights}", "--no-padding")
    assert both["same"] == padded["same"] and both["other"]["padding"] is False
    code, text, _ = command("compare", tmp_path / "r.jsonl", "--format", "csv")
    lines = list(csv.DictReader(text.splitlines()))
    shown = {(line["model"], line["padding"]) for line in lines if line["source"] == "measured"}
    assert code == 0 and shown == {("same", ""), ("other", "False")}


def test_the_teacher_keeps_its_padding(measure, weights):
    found, _ = measure("-m", f"student={weights}", "-m", "teacher=sam_demo", "--reference", "teacher", "--no-padding")
    assert found["student"]["padding"] is False and "padding" not in found["teacher"]


def test_a_model_that_cannot_is_refused(command, tmp_path):
    run = partial(command, "eval", "-s", "box", "--data", "sample:val", "--out", tmp_path / "r.jsonl", "--image-size", 128)
    code, _, err = run("-m", "sam_demo", "--no-padding")
    assert code == 2 and "TimmFeaturesEncoder cannot run without padding" in err
