"""The benchmark of quantised encoders, in small: it runs, and what is offered as a precision is worth it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow  # about half a minute on one core
def test_the_benchmark_of_quantised_encoders():
    command = [sys.executable, "-m", "benchmarks.quantisation", "--json", "--model", "sam_demo", "--image-size", "64"]
    command += ["--photos", "2", "--calibration", "2", "--rounds", "2"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout.splitlines()[-1])
    assert found["photos"] == found["calibration"] == 2
    whole, half, quarter = found["fp32"], found["stored fp16"], found["stored int8"]
    assert half["iou_mean"] > 0.999 and half["megabytes"] < 0.6 * whole["megabytes"]
    assert quarter["iou_mean"] > 0.98 and quarter["megabytes"] < 0.35 * whole["megabytes"]
    static = [value for name, value in found.items() if name.startswith("static")]
    assert len(static) == 5
    assert all(value["iou_mean"] < half["iou_mean"] and value["time_ratio"] > 0 for value in static)
