"""Files of a run folder that are damaged, and places that cannot be written to."""

import errno
import json
import os
import pickle
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from distill.checkpoints.checkpoint import save_checkpoint
from distill.checkpoints.checkpoint_files import save_state
from distill.ema import Ema
from distill.monitoring.event_file import EventFile
from distill.monitoring.monitor import Monitor, truncate_after
from distill.run_folder import only_process, steps_done, write_run_json
from distill.step_stats import StepStats
from encoders.errors import InputError
from encoders.files import write_errors

linux = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a run of 24 steps, without its checkpoints."""
    for name in ("encoder", "decoder"):
        save_file({"weight": torch.ones(3)}, tmp_path / f"{name}.safetensors")
    write_run_json(tmp_path, {"steps": 24})
    return tmp_path


def test_a_finished_run_is_known_by_its_steps_and_checksums(finished):
    assert steps_done(finished, steps=24) == 24
    facts = json.loads((finished / "run.json").read_text())
    assert set(facts["sha256"]) == {"encoder.safetensors", "decoder.safetensors"}
    del facts["sha256"]
    (finished / "run.json").write_text(json.dumps(facts))  # as earlier releases wrote it
    assert steps_done(finished, steps=24) == 24


@pytest.mark.parametrize(
    "content", [b'{"steps": 24', b"\xff", b"[]", b'{"steps": "many"}', b'{"steps": NaN}', b"[" * 100_000, b"{}"]
)
def test_a_damaged_run_json_is_one_message_that_says_what_to_do(finished, content):
    (finished / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run.json.*; delete it, and the run writes"):
        steps_done(finished, steps=24)


def test_damaged_weights_without_a_checkpoint_are_an_error_and_stay(finished):
    file = finished / "decoder.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    with pytest.raises(InputError, match="decoder.safetensors is damaged.*no checkpoint is left to go on from"):
        steps_done(finished, steps=24)
    assert file.read_bytes().endswith(b"X")


def test_a_finished_run_without_checkpoints_is_not_made_longer_by_starting_anew(finished):
    with pytest.raises(InputError, match="finished with 24 of 30 steps, and no checkpoint is left"):
        steps_done(finished, steps=30)


@pytest.mark.parametrize(
    ("line", "says"),
    [(b"\xff", "not JSON"), (b'{"step": 2', "not JSON"), (b"{}", "no number of a step"), (b"[1]", "no number of a step")],
)
def test_damaged_metrics_are_named_by_their_line_and_stay(tmp_path, line, says):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"metrics.jsonl, line 2,? .*{says}.*correct or delete the line"):
        truncate_after(path, step=3)
    assert path.read_bytes() == before


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Lets writes fail as on a full disk, at so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Engine:
    def __init__(self) -> None:
        self.module = torch.nn.Linear(300, 300)
        self.optimizer = torch.optim.AdamW(self.module.parameters())


def test_a_checkpoint_that_finds_no_room_is_one_message_and_costs_no_earlier_one(tmp_path):
    engine = Engine()
    ema = Ema(engine.module, decay=0.0)
    save_checkpoint(tmp_path, step=4, engine=engine, ema=ema, data_id=None, keep=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    says = r"state.pt cannot be written \(File too large, \d+ MiB free\)"
    with pytest.raises(InputError, match=says), files_no_larger_than(2**16):
        save_checkpoint(tmp_path, step=8, engine=engine, ema=ema, data_id=None, keep=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["step_4"]


@pytest.mark.parametrize(("number", "goes_on"), [(errno.ENOSPC, True), (errno.EACCES, False)])
def test_a_run_that_finds_no_room_says_that_the_same_command_goes_on(command, monkeypatch, tmp_path, number, goes_on):
    def full(config):
        with write_errors(config.folder / "checkpoints/step_8"):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr("distill.loop.distill", full)
    code, _, err = command("distill", "--config", "quickstart_repvit_m0_6", "--set", f"out={tmp_path}")
    assert code == 2 and "step_8 cannot be written" in err
    words = "or make room there and run the same command again: finished checkpoints are kept"
    assert (words in err) == goes_on  # a folder without permission may be one that is only read


def test_a_state_that_cannot_be_pickled_keeps_its_own_error(tmp_path):
    with pytest.raises((AttributeError, TypeError, RuntimeError, pickle.PicklingError)):
        save_state({"x": lambda: 0}, tmp_path / "state.pt")
    assert list(tmp_path.iterdir()) == []


@linux
def test_a_full_disk_is_one_message_for_metrics_events_progress_and_lock(tmp_path):
    monitor = Monitor(tmp_path, start_step=0, steps=5, samples_per_step=4, every_steps=1, enabled=True)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    says = r"cannot be written \(No space left on device, \d+ MiB free\)"
    with pytest.raises(InputError, match=f"metrics.jsonl {says}"):
        monitor.log(1, StepStats(losses={}, measured={}, total=1.0, grad_norm=1.0), lr=0.1)
    with pytest.raises(InputError, match=r"run.lock cannot be written"), files_no_larger_than(0), only_process(tmp_path):
        pass
    board = EventFile(tmp_path, start_step=0)
    os.dup2(os.open("/dev/full", os.O_WRONLY), board._file.fileno())
    with pytest.raises(InputError, match=f"events.out.tfevents.* {says}"):
        board.scalars({"loss": 1.0}, step=1)
    board.close()


def test_tensorboard_reads_the_curves_and_drops_what_lies_after_a_restart(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, steps in ((0, 5), (2, 4)):
        with Monitor(tmp_path, start_step=start, steps=steps, samples_per_step=4, every_steps=1, enabled=True) as monitor:
            for step in range(start + 1, steps + 1):
                monitor.log(step, StepStats(losses={"mse": 10.0 * start + step}, measured={}, total=1.0, grad_norm=1.0), lr=0.1)
    board = EventAccumulator(str(tmp_path)).Reload()
    assert {"train/loss", "train/mse", "train/lr", "train/grad_norm"} <= set(board.Tags()["scalars"])
    assert [(event.step, event.value) for event in board.Scalars("train/mse")] == [(1, 1.0), (2, 2.0), (3, 23.0), (4, 24.0)]


def test_a_progress_line_has_units_and_says_how_long_it_will_take(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("distill.monitoring.monitor.time.perf_counter", iter([0.0, 2.0, 4.0]).__next__)
    with Monitor(tmp_path, start_step=0, steps=100, samples_per_step=8, every_steps=50, enabled=True) as monitor:
        for step in range(1, 51):
            monitor.log(step, StepStats(losses={"mse": 0.5}, measured={}, total=0.5, grad_norm=1.0), lr=0.002)
    assert capsys.readouterr().err == "step 50/100: loss 0.5000 (mse 0.5000), lr 2.00e-03, 200.0 photos/s, 2 s left\n"
