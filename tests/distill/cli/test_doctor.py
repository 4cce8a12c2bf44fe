"""`repvit-sam doctor` says what it looked at, and promises nothing that it did not try."""

import email
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill.jobs import engine_check, machine

METADATA = """Metadata-Version: 2.4
Name: repvit-sam
Provides-Extra: there
Provides-Extra: absent
Provides-Extra: elsewhere
Provides-Extra: old
Provides-Extra: dev
Requires-Dist: numpy
Requires-Dist: pip-of-nobody
Requires-Dist: numpy >= 1 ; extra == "there"
Requires-Dist: not-here-a >= 1 ; extra == "absent"
Requires-Dist: numpy >= 1 ; extra == "absent"
Requires-Dist: not-here-b ; sys_platform == "amiga" and extra == "elsewhere"
Requires-Dist: not-here-c ; python_version < "3" and extra == "elsewhere"
Requires-Dist: numpy >= 900 ; extra == "old"
Requires-Dist: not-here-d ; extra == "dev"
"""


def test_an_extra_is_promised_only_where_it_would_bring_something(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: email.message_from_string(METADATA))
    version = importlib.metadata.version("numpy")
    assert machine.missing_extras() == {"absent": ["not-here-a"], "old": [f"numpy >=900 (here: {version})"]}


def test_without_metadata_nothing_is_promised(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", absent)
    assert machine.missing_extras() == {}


def fake_nvidia_smi(folder, monkeypatch, script):
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_gpus_are_those_of_the_driver(tmp_path, monkeypatch):
    fake_nvidia_smi(tmp_path, monkeypatch, "echo 'NVIDIA H200'; echo 'NVIDIA H200'")
    assert machine.gpu_names() == ["NVIDIA H200", "NVIDIA H200"]


@pytest.mark.parametrize("script", ["echo 'NVIDIA-SMI has failed'; exit 9", ":"])
def test_a_driver_that_fails_has_no_gpus(tmp_path, monkeypatch, script):
    fake_nvidia_smi(tmp_path, monkeypatch, script)
    assert machine.gpu_names() == []


def test_without_full_the_engine_is_not_spoken_for(command):
    code, out, _ = command("doctor", "--json")
    assert code == 0 and json.loads(out)["training"].startswith("not tried")
    code, out, _ = command("doctor")
    assert "training: not tried; repvit-sam doctor --full starts the engine" in out and "sam_demo: there" in out


@pytest.mark.parametrize(
    ("script", "training"),
    [
        ("""print('chatter'); print('{"training": "DeepSpeed took a step on cpu"}')""", "DeepSpeed took a step on cpu"),
        ("raise OSError('CUDA_HOME does not exist')", "DeepSpeed does not start: OSError: CUDA_HOME does not exist"),
        ("import os; os.abort()", "DeepSpeed does not start: exit code -6"),
    ],
)
def test_with_full_it_says_what_starting_the_engine_did(command, monkeypatch, script, training):
    def run(words, **options):
        assert words[1:] == ["-m", "distill.jobs.engine_check"]
        return started([sys.executable, "-c", script], **options)

    started = subprocess.run
    monkeypatch.setattr(engine_check.subprocess, "run", run)
    code, out, _ = command("doctor", "--full", "--json")
    assert code == 0 and json.loads(out)["training"] == training


@pytest.mark.slow  # starts DeepSpeed: 5 s on an idle core
def test_the_engine_takes_a_step():
    assert "took a step on c" in engine_check.try_engine()["training"]


def test_names_and_weights_are_those_of_the_registry():
    """They stand apart from it, so that they can be told without importing torch."""
    import encoders
    from encoders import model_names

    assert list(model_names.MODEL_NAMES) == encoders.list_models()
    assert all(isinstance(path, Path) for path in model_names.SHIPPED_WEIGHTS.values())
