"""Trackers beside metrics.jsonl: what they are given, with a stand-in for their packages, and what a missing one is called."""

import re
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from distill.config.reading import read_run
from distill.monitoring.loggers import open_loggers
from distill.monitoring.monitor import Monitor
from distill.step_stats import StepStats
from encoders.errors import InputError, MissingExtra


@pytest.fixture
def standin(monkeypatch):
    """A package with the interface of wandb and trackio; everything that it is told, in order."""
    told = []

    class Run:
        def log(self, values, *, step):
            told.append((step, values))

        def finish(self):
            told.append("finished")

    def init(**known):
        told.append(known)
        return Run()

    for name in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(init=init, Image=lambda picture: picture.size))
    return told


def monitor(config) -> Monitor:
    settings = {"start_step": 0, "steps": 4, "samples_per_step": 4, "every_steps": 2, "enabled": True}
    config.folder.mkdir(exist_ok=True)
    return Monitor(config.folder, **settings, loggers=open_loggers(config))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_gets_what_metrics_and_tensorboard_get(config_file, standin, name):
    config = read_run(config_file(log={"loggers": [name]}))
    with monitor(config) as there:
        there.add(0, {"probe/iou": 0.25, "probe/warning": "so"})
        for step in (1, 2):
            there.log(step, StepStats(losses={"mse": 0.5}, measured={}, total=0.5, grad_norm=1.0), lr=0.1)
        there.picture(2, Image.new("RGB", (30, 20)))
    known, probe, trained, picture, last = standin
    assert (known["project"], known["name"], known["resume"]) == ("repvit-sam", "tiny", "allow")
    assert known["config"]["global_batch"] == 4 and last == "finished"
    assert probe == (0, {"probe/iou": 0.25, "probe/warning": "so"})
    assert trained[0] == 2 and {"loss", "mse", "lr", "grad_norm", "samples_per_second"} == trained[1].keys()
    assert picture == (2, {"probe/masks": (30, 20)})


def test_a_run_that_goes_on_is_the_same_one_to_wandb(config_file, standin):
    config = read_run(config_file(log={"loggers": ["wandb"]}))
    for _ in range(2):
        with monitor(config):
            pass
    identifiers = [told["id"] for told in standin if isinstance(told, dict)]
    assert len(identifiers) == 2 and len(set(identifiers)) == 1 and identifiers[0].startswith("tiny-")


@pytest.mark.parametrize("content", [b"", b"\xff", b"tiny-1/2", b"tiny-1\n", b"x" * 65])
def test_a_damaged_identifier_is_refused_and_named(config_file, standin, content):
    config = read_run(config_file(log={"loggers": ["wandb"]}))
    config.folder.mkdir()
    (config.folder / "wandb_id").write_bytes(content)
    with pytest.raises(InputError, match="wandb_id"):
        open_loggers(config)
    assert not standin


def test_an_identifier_of_an_earlier_release_stays(config_file, standin):
    config = read_run(config_file(log={"loggers": ["wandb"]}))
    config.folder.mkdir()
    (config.folder / "wandb_id").write_text("my run ä-01234567")
    open_loggers(config)
    assert standin[0]["id"] == "my run ä-01234567"


def test_an_identifier_has_no_letters_that_a_url_does_not_take(config_file, standin, tmp_path):
    with monitor(read_run(config_file(name="my run/ä", log={"loggers": ["wandb"]}, out=str(tmp_path / "run")))):
        pass
    assert standin[0]["name"] == "my run/ä" and re.fullmatch(r"my_run__-[0-9a-f]{8}", standin[0]["id"])


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(config_file, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"{name} is not installed; install it with: pip install 'repvit-sam\[{name}\]'"):
        open_loggers(read_run(config_file(log={"loggers": [name]})))


def test_another_tracker_is_refused(config_file):
    with pytest.raises(InputError, match="log.loggers.0: .*'wandb' or 'trackio'.*given: 'mlflow'"):
        read_run(config_file(log={"loggers": ["mlflow"]}))
