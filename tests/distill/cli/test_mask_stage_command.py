"""The mask stage as a user runs it, on drawn scenes: in one process and in two, and a model at its end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import encoders

STEPS = 3
SETTINGS = {
    "stage": "mask",
    "teacher": None,
    "data": None,
    "model": {"arch": "sam_demo", "image_size": 64},
    "mask_data": {
        "sets": [{"kind": "shapes", "count": 12, "size": 96}],
        "prompts_per_photo": 4,
        "min_pixels": 16,
        "num_workers": 0,
    },
    "mask_loss": {"refine": 1.0, "refine_share": 0.5},
    "schedule": {"steps": STEPS, "warmup_steps": 1, "min_lr_ratio": 0.1},
    "ema": {"decay": 0.0},
}


@pytest.fixture
def _one_thread():
    """As the commands that it is compared with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def curves(folder: Path) -> np.ndarray:
    """(steps, 3): step, loss, gradient norm."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([[line[key] for key in ("step", "loss", "grad_norm")] for line in lines])


def train(command, config, run):
    """Run all steps in this process; their curves."""
    code, _, err = command("distill", "--config", config, "--set", f"out={run}")
    assert code == 0, err
    found = curves(run)
    assert found[:, 0].tolist() == list(range(1, STEPS + 1)) and np.isfinite(found).all()
    assert encoders.load(str(run)).arch == "sam_demo"
    return found


@pytest.mark.usefixtures("_one_thread")
def test_a_model_is_trained_from_masks(config_file, command, tmp_path):
    """Four drawn scenes a step, 64 px."""
    assert (train(command, config_file(**SETTINGS), tmp_path / "run")[:, 1:] > 0).all()


@pytest.mark.slow  # 20 s: three processes start
@pytest.mark.usefixtures("_one_thread")
def test_two_processes_train_from_masks_as_one_does(config_file, command, start, tmp_path):
    """Tolerance 1e-3: sums over the batch are taken in another order. The other stage's is in test_distill_command.py."""
    run = tmp_path / "run2"
    process = start("distill", "--config", config_file(**SETTINGS), "--set", f"out={run}", "--num-processes", 2)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    np.testing.assert_allclose(curves(run), train(command, config_file(**SETTINGS), tmp_path / "run1"), rtol=1e-3)
    assert encoders.load(str(run)).arch == "sam_demo"
