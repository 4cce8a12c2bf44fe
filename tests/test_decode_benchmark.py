"""The benchmark of the mask decoder, in small: it runs, and its masks are SamPredictor's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow  # 7 s each: a process of its own
@pytest.mark.parametrize("weights", ["sam_demo", "random"])
def test_the_decoders_benchmark(weights):
    command = [sys.executable, "-m", "benchmarks.decode", "--json", "--image-size", "128", "--rounds", "1", "--boxes", "3"]
    command += ["--weights", weights, "--threads", "1"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
    assert found["equal_masks"] is True and found["different_pixels"] == 0
    assert found["max_abs_logit_difference"] <= 1e-4 < found["logit_rms"]
    assert 0 < found["mask_share"] < 1
    assert found["speedup"] > 0 and found["boxes"] == 3
