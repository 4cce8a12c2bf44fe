"""The mask stage as a user runs it, on drawn scenes: in one process and in two, and a model at its end."""

import json
from pathlib import Path

import numpy as np

import encoders

STEPS = 3


def curves(folder: Path) -> np.ndarray:
    """(steps, 3): step, loss, gradient norm."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([[line[key] for key in ("step", "loss", "grad_norm")] for line in lines])


def test_two_processes_train_from_masks_as_one_does(config_file, start, tmp_path):
    """Four drawn scenes a step, 64 px. Tolerance 1e-3: sums over the batch are taken in another order."""
    settings = {
        "stage": "mask",
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
    for processes in (1, 2):
        run = str(tmp_path / f"run{processes}")
        process = start("distill", "--config", config_file(**settings), "--set", f"out={run}", "--num-processes", processes)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    one, two = curves(tmp_path / "run1"), curves(tmp_path / "run2")
    assert one[:, 0].tolist() == list(range(1, STEPS + 1))
    np.testing.assert_allclose(two, one, rtol=1e-3)
    assert encoders.load(str(tmp_path / "run2")).arch == "sam_demo"
