"""A run of two ranks that is killed many times ends with the weights of a run that nobody disturbed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from distill.checkpoints.checkpoint import list_checkpoints

ROOT = Path(__file__).resolve().parents[2]
KILLS = {"embedding": 30, "prompt": 10}  # by stage
STEPS = 4  # for each kill


def command(config):
    """The run in two processes, started as users start it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = ["distill", "--config", str(config), "--num-processes", "2"]
    return subprocess.Popen([sys.executable, "-m", "distill", *arguments], env=environment, stderr=subprocess.DEVNULL)


def kill_a_rank(process, *, rank):
    """Kill the launcher (rank None) or one of its two ranks with SIGKILL."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    victims = children.read_text().split() if children.exists() else []
    os.kill(process.pid if rank is None or len(victims) <= rank else int(victims[rank]), signal.SIGKILL)


@pytest.mark.slow  # about 15 minutes on 2 busy cores: forty starts of two processes
@pytest.mark.parametrize("stage", KILLS)
def test_weights_are_bit_identical_after_many_kills(tmp_path, tiny_settings, prompt_settings, stage):
    weights, steps = {}, STEPS * KILLS[stage]
    length = {"schedule": {"steps": steps, "warmup_steps": 2}, "checkpoint": {"every_steps": 2, "keep": 2}}
    for name, kills in (("undisturbed", 0), ("killed", KILLS[stage])):
        config = tmp_path / f"{name}.yaml"
        settings = {"embedding": tiny_settings, "prompt": prompt_settings}[stage]
        config.write_text(yaml.safe_dump(settings | length | {"out": str(tmp_path / name)}))
        rng, done = np.random.default_rng(0), 0
        checkpoints = tmp_path / name / "checkpoints"
        while done < kills:
            process, begun = command(config), max(list_checkpoints(checkpoints), default=0)
            goal = begun + 2 * int(rng.integers(1, 3))  # the kill falls somewhere after this checkpoint
            while process.poll() is None and max(list_checkpoints(checkpoints), default=0) < goal:
                time.sleep(0.02)
            time.sleep(float(rng.uniform(0, 0.3)))
            assert process.poll() is None, f"the run ended by itself after {done} kills; more steps are needed"
            kill_a_rank(process, rank=(0, 1, None)[int(rng.integers(3))])
            process.wait(timeout=60)
            done += 1
        assert command(config).wait(timeout=300) == 0
        state = torch.load(checkpoints / f"step_{steps}" / "state.pt", weights_only=True)
        weights[name] = state["module"] | {f"ema {key}": value for key, value in state["ema"]["shadow"].items()}
    assert weights["killed"].keys() == weights["undisturbed"].keys()
    for key, value in weights["undisturbed"].items():
        assert torch.equal(weights["killed"][key], value), key
