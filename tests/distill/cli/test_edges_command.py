"""`repvit-sam eval edges`: what it prints, and what it says where something is missing."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def edges(command):
    """Exit code, stdout and stderr of `repvit-sam eval edges ARGUMENTS`, in this process."""
    return partial(command, "eval", "edges")


def test_the_official_example_by_the_command(shared_data, edges):
    bench = shared_data / "bsds500_bench5"
    code, out, err = edges("--predictions", bench / "ucm2", "--data", bench, "--thresholds", 5, "--split", "test", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["ODS"], found["OIS"]) == (pytest.approx(0.704632, abs=1e-3), pytest.approx(0.708608, abs=1e-3))
    assert found["AP"] == pytest.approx(0.307593, abs=2e-3)
    assert 0 < found["R50"] < 1
    assert found["images"]["2018"] == {
        "best_f": pytest.approx(0.747542, abs=1e-3),
        "best_threshold": pytest.approx(0.166667, abs=1e-6),
    }
    assert (found["n"], found["split_photos"]) == (5, 5)
    assert "T = 5" in found["protocol"]
    assert "photo 5/5" in err


def test_the_table_says_how_many_photos_of_the_split_were_scored(shared_data, edges, tmp_path):
    Image.fromarray(np.zeros((321, 481), np.uint8)).save(tmp_path / "100007.png")
    code, out, _ = edges("--predictions", tmp_path, "--data", shared_data / "bsds500", "--thresholds", 2)
    assert code == 0
    assert "1 of 200 photos" in out
    assert "0.000" in out and "–" in out  # no edge at all: F is 0, and half precision is never reached


def test_a_missing_data_set_gets_instructions(edges, tmp_path):
    code, out, err = edges("--predictions", tmp_path, "--data", tmp_path / "BSDS500", "--json")
    assert (code, out) == (2, "")
    assert "BSR_bsds500.tgz" in err and "Traceback" not in err


def test_maps_without_an_edge_and_files_of_no_photo_are_told(shared_data, edges, tmp_path):
    for name in ("100007", "100007_edges"):
        Image.fromarray(np.ones((321, 481), np.uint8)).save(tmp_path / f"{name}.png")  # 0 and 1 instead of 0 and 255
    code, _, err = edges("--predictions", tmp_path, "--data", shared_data / "bsds500", "--thresholds", 2)
    assert code == 0
    assert "note:" in err and "no map has an edge at any level" in err and "255 the strongest edge" in err
    assert "1 of 2 files are of no photo of this split, 100007_edges.png first" in err
