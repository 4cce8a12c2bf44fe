"""Fixtures of the distill room: a tiny cache of a small teacher, and runs on it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import encoders
import shards
from distill.cli.app import main
from distill.config.reading import read_run
from tests.distill.prompt_stage.fixtures import annotated_cache, prompt_settings

__all__ = ["annotated_cache", "prompt_settings"]

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "model": {"arch": "repvit_m0_6", "image_size": 64},
    "teacher": {"model": "sam_demo"},
    "schedule": {"steps": 12, "warmup_steps": 2, "min_lr_ratio": 0.1},
    "global_batch": 4,
    "checkpoint": {"every_steps": 4, "keep": 2},
    "log": {"every_steps": 1},
}


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Joining a world of one process leaves RANK and the like behind; commands started later must not see them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 photos, none square, through sam_demo at 64 px: three shards."""
    root = tmp_path_factory.mktemp("distill")
    (root / "photos").mkdir()
    rng = np.random.default_rng(4)
    for number in range(14):
        photo = rng.integers(0, 256, (5 + number % 3, 9 - number % 4, 3)).astype(np.uint8)
        size = (90, 50) if number % 2 else (48, 80)
        Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC).save(root / "photos" / f"p{number:02d}.jpg")
    shards.precompute(
        shards.open_source(str(root / "photos")),
        teacher=encoders.load("sam_demo", image_size=64),
        teacher_name="sam_demo",
        teacher_sha256=encoders.weights_sha256("sam_demo"),
        out=root / "cache",
        samples_per_shard=5,
        batch_size=2,
    )
    return root / "cache"


@pytest.fixture(scope="session")
def tiny_settings(tiny_cache: Path) -> dict[str, Any]:
    """The config of a tiny run, without a folder."""
    return SETTINGS | {"data": {"cache": str(tiny_cache), "num_workers": 0}}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict) -> Path:
    """The folder of a run that nobody disturbed, made in this process."""
    from distill.loop import distill

    root = tmp_path_factory.mktemp("undisturbed")
    (root / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings | {"out": str(root / "run")}))
    threads, environment = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(1)  # as the commands that it is compared with
    try:
        return distill(read_run(root / "tiny.yaml"))
    finally:
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)


@pytest.fixture
def config_file(tmp_path: Path, tiny_settings: dict[str, Any]) -> Callable[..., Path]:
    """Writes the config of a tiny run in tmp_path/run; keyword arguments replace whole sections."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(tiny_settings | {"out": str(tmp_path / "run")} | changes))
        return path

    return write


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `python -m distill ARGUMENTS` with one thread; whatever still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> "subprocess.Popen[str]":
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "distill", *map(str, arguments)]
        running.append(
            subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, stdout and stderr of `repvit-sam ARGUMENTS`, in this process."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["repvit-sam", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run
