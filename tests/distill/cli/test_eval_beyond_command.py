"""`repvit-sam eval` and `compare` on DUTS, MVTec AD, DAVIS and SegInW: drawn photos in the official layouts, a real model."""

import json

import numpy as np
import pytest

from tests.layouts import make_davis, make_duts, make_mvtec, make_seginw

SHAPE = (96, 160)


def ellipse(x, y, width, height):
    """(H, W) bool around a centre in pixels."""
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 <= 1


@pytest.fixture
def folders(tmp_path):
    """Suite -> its options: data, and boxes where it needs them."""
    ball, cigar = ellipse(110, 40, 18, 20), ellipse(40, 65, 30, 12)
    seginw, boxes = make_seginw(tmp_path, {"Puppies": {"a.jpg": [ball, cigar]}, "Rail": {"b.jpg": [cigar]}})
    mvtec = make_mvtec(tmp_path, {"pill/hole/000": cigar, "pill/good/000": None, "grid/bent/000": ball}, shape=SHAPE)
    return {
        "saliency": ["--data", make_duts(tmp_path, {"a": ball, "b": cigar})],
        "anomaly": ["--data", mvtec],
        "video": ["--data", make_davis(tmp_path, {"roll": [1 * ellipse(50 + 3 * step, 40, 18, 20) for step in range(4)]})],
        "seginw": ["--data", seginw, "--boxes", boxes],
    }


def test_all_of_them_stand_in_one_table(command, folders, tmp_path):
    files = []
    for suite, options in folders.items():
        files.append(tmp_path / f"{suite}.jsonl")
        code, out, err = command(
            "eval", "-m", "sam_demo", "--image-size", 128, "--baselines", "-s", suite, *options, "--out", files[-1], "--json"
        )
        assert code == 0, err
        model, baseline = [json.loads(line) for line in out.splitlines()]
        assert model["suite"] == suite and 0 <= baseline["value"] <= 1
        if suite == "saliency":
            assert model["direction"] == "lower" and model["value"] < baseline["value"] < 0.1  # round things, filled boxes
        else:
            assert model["value"] > 0.5
    code, out, _ = command("compare", *files, "--format", "markdown", "--no-published")
    assert code == 0
    for heading in ("saliency on DUTS-TE", "anomaly on MVTec AD grid, pill", "video on DAVIS 2017", "seginw on SegInW"):
        assert f"#### {heading}" in out
    for column in ("MAE (lower is better)", "best pixel F1", "J&F", "mean mask AP"):
        assert f"| {column} |" in out
    assert out.count("| sam_demo |") >= 4


@pytest.mark.parametrize("suite", ["saliency", "anomaly", "video", "seginw"])
def test_a_missing_data_set_gets_instructions_and_exit_code_2(command, folders, tmp_path, suite):
    name = folders[suite][1].name
    words = ["eval", "-m", "sam_demo", "-s", suite, "--data", tmp_path / "nowhere" / name, "--out", tmp_path / "out.jsonl"]
    code, out, err = command(*words)
    assert (code, out) == (2, "") and "https://" in err.replace("http://", "https://")
    assert err.startswith("error: ") and "Traceback" not in err and not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("suite", ["saliency", "anomaly", "video"])
def test_a_suite_on_data_that_is_not_meant_for_it_says_what_is(command, tmp_path, suite):
    words = ["eval", "-m", "sam_demo", "--image-size", 64, "-s", suite, "--data", "sample:val", "--out", tmp_path / "o.jsonl"]
    code, _, err = command(*words)
    assert code == 2 and "ive " in err and "unpack" in err and "Traceback" not in err
