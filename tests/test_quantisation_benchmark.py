"""The benchmark of quantised encoders, in small: what `--precision` offers loses less than ONNX Runtime's own quantisation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[1]
INNER = "static, inner 1x1 convolutions"
OWN = ["dynamic, all", "static, all", "static, convolutions"]
OWN += [f"{INNER}, {method}" for method in ("MinMax", "Percentile 99.99", "Percentile 99.9")]


@pytest.fixture(scope="module")
def found() -> dict:
    """About half a minute on one core."""
    command = [sys.executable, "-m", "benchmarks.quantisation", "--json", "--model", "sam_demo", "--image-size", "64"]
    command += ["--photos", "4", "--calibration", "2", "--rounds", "2"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout.splitlines()[-1])


@pytest.mark.slow
def test_stored_fp16_halves_the_file_and_keeps_the_masks(found):
    assert found["stored fp16"]["megabytes"] < 0.6 * found["fp32"]["megabytes"]
    assert found["stored fp16"]["iou_mean"] > 0.999


@pytest.mark.slow
def test_stored_int8_takes_a_third_of_the_file_and_loses_less_than_any_quantisation_of_activations(found):
    stored = found["stored int8"]
    assert stored["megabytes"] < 0.35 * found["fp32"]["megabytes"] and stored["iou_mean"] > 0.99
    assert stored["embedding_relative_error"] < min(found[name]["embedding_relative_error"] for name in OWN) / 3
    assert stored["iou_mean"] > max(found[name]["iou_mean"] for name in OWN)


@pytest.mark.slow
def test_dynamic_int8_with_convolutions_gives_the_smallest_file_and_takes_longer_than_fp32(found):
    dynamic = found["dynamic, all"]
    assert dynamic["megabytes"] == min(found[name]["megabytes"] for name in ("fp32", "stored fp16", "stored int8", *OWN))
    assert dynamic["time_ratio"] > 1.2


@pytest.mark.slow
def test_dynamic_int8_without_convolutions_leaves_a_convolutional_encoder_as_it_is(found):
    alone = found["dynamic, no convolutions"]
    assert alone["megabytes"] == pytest.approx(found["fp32"]["megabytes"], rel=0.01)
    assert alone["embedding_relative_error"] < 1e-4
