"""A run that a signal ends, that is made longer, or whose weights were damaged."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import training
from distill.checkpoints.checkpoint import list_checkpoints
from distill.config.reading import read_run
from distill.config.runs import EmbeddingRun
from distill.loop import distill
from distill.monitoring.monitor import Monitor
from distill.schedule import length, short_run_note
from encoders.errors import InputError, InputWarning


def curve(folder: Path) -> np.ndarray:
    """(steps, 4): step, loss, learning rate, gradient norm."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([[line[key] for key in ("step", "loss", "lr", "grad_norm")] for line in lines])


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the run that these are compared with
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(undisturbed, tmp_path) -> tuple[Path, list[str]]:
    """A copy of the run that nobody disturbed, and the overrides that name its folder."""
    return shutil.copytree(undisturbed, tmp_path / "run"), [f"out={tmp_path / 'run'}"]


def go_on(folder: Path, *overrides: str) -> Path:
    return distill(read_run(folder / "config.yaml", overrides=overrides))


def test_signals_end_a_run_in_a_checkpoint_from_which_it_goes_on(
    config_file, tmp_path, undisturbed, monkeypatch, capsys, one_thread
):
    config = read_run(config_file())
    log, signals = Monitor.log, {2: signal.SIGTERM, 5: signal.SIGINT}

    def log_and_signal(self, step, *values, **named):
        log(self, step, *values, **named)
        if step in signals:
            os.kill(os.getpid(), signals[step])

    monkeypatch.setattr(Monitor, "log", log_and_signal)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    for step, code, kept in ((2, 143, [2]), (5, 130, [4, 5])):
        with pytest.raises(SystemExit) as stopped:
            distill(config)
        assert stopped.value.code == code and list_checkpoints(tmp_path / "run" / "checkpoints") == kept
        assert f"ends after step {step}, in a checkpoint; run the same command again to go on" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    distill(config)
    np.testing.assert_allclose(curve(tmp_path / "run"), curve(undisturbed), rtol=1e-5)


def test_a_run_that_fails_ends_the_processes_that_read_for_it(config_file, tiny_cache, monkeypatch):
    """They take no signal, so that the interpreter would wait for them for ever."""

    def fail(*arguments, **values):
        assert len(multiprocessing.active_children()) == 1
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training, "save_checkpoint", fail)
    config = read_run(config_file(data={"cache": str(tiny_cache), "num_workers": 1}))
    with pytest.raises(OSError, match="No space left") as failed:
        distill(config)
    assert failed.traceback and not multiprocessing.active_children()  # although the error keeps what the run held


def test_a_finished_run_goes_on_to_more_steps_and_says_what_becomes_of_the_learning_rate(run, capsys):
    folder, out = run
    before = curve(folder)
    go_on(folder, *out, "schedule.steps=14")
    after = curve(folder)
    assert after[:, 0].tolist() == list(range(1, 15)) and (after[:12] == before).all()
    assert after[-1, 2] == pytest.approx(1e-4)  # min_lr_ratio at the last of 14 steps
    note = f"begun with 12 steps and goes on to 14: from step 13 on .*14 steps, so it goes from 1.00e-04 to {after[12, 2]:.2e}"
    assert re.search(note, capsys.readouterr().err)
    assert json.loads((folder / "run.json").read_text())["steps"] == 14
    with pytest.raises(InputError, match="finished with 14 steps, more than the 12 of schedule"):
        go_on(folder, *out, "schedule.steps=12")


def test_a_run_that_ends_within_its_warm_up_says_so(run, capsys):
    folder, out = run
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text().replace("warmup_steps: 2", "warmup_steps: 20"))
    go_on(folder, *out, "schedule.steps=14")
    assert "warm-up of 20 steps is no shorter than the run of 14 steps, so the learning rate reaches" in capsys.readouterr().err


def test_the_note_of_a_run_within_its_warm_up_names_the_rate_that_it_reaches_and_a_shorter_warm_up():
    config = EmbeddingRun.model_validate(
        {
            "name": "short",
            "model": {"arch": "repvit_m0_6"},
            "teacher": {"model": "sam_demo"},
            "data": {"cache": "cache"},
            "optim": {"lr": 0.01},
            "schedule": {"steps": 10, "warmup_steps": 40},
        }
    )
    assert short_run_note(config, steps=10) == (
        "note: the warm-up of 40 steps is no shorter than the run of 10 steps, so the learning rate reaches 2.50e-03 of "
        "1.00e-02 and never falls. For a short run begin anew with a shorter one, e.g. --set schedule.warmup_steps=1"
    )


def test_fewer_steps_than_are_done_are_refused(run):
    folder, out = run
    (folder / "run.json").unlink()
    with pytest.raises(InputError, match="has done 12 steps, more than the 5 of schedule; give at least 12"):
        go_on(folder, *out, "schedule.steps=5")


def test_weights_that_were_damaged_are_made_again_from_the_checkpoint(run):
    folder, out = run
    file = folder / "encoder.safetensors"
    expected = {name: value.clone() for name, value in load_file(file).items()}  # not mapped from the file
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(content)
    with pytest.warns(InputWarning, match="encoder.safetensors is damaged.*made again from the last checkpoint"):
        go_on(folder, *out)
    torch.testing.assert_close(load_file(file), expected, rtol=0, atol=0)
    assert curve(folder)[:, 0].tolist() == list(range(1, 13))


def test_a_length_in_epochs_is_one_in_steps():
    assert length({"steps": None, "epochs": 3}, steps_per_epoch=7) == 21
    assert length({"steps": 5, "epochs": None}, steps_per_epoch=7) == 5
