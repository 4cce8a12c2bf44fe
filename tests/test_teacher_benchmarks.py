"""The benchmarks of the teacher and of precompute, in small: they run, and print one JSON object of figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def facts(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", *arguments, "--json", "--image-size", "128", "--rounds", "1"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)


@pytest.mark.slow
def test_the_teachers_benchmark():
    """Takes about 30 seconds."""
    found = facts("benchmarks.teacher")
    assert found["speedup"] > 0 and found["peak_memory_ratio"] >= 0
    assert found["max_abs_difference"] <= 1e-4 < found["embedding_rms"]


@pytest.mark.slow
def test_precomputes_benchmark():
    """Takes about 20 seconds."""
    found = facts("benchmarks.precompute", "--arch", "sam_demo", "--photos", "2", "--batch", "1")
    assert 0 < found["share_outside"] < 1 and found["precompute_seconds_per_photo"] > 0
