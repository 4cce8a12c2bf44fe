"""Experiment trackers beside metrics.jsonl and TensorBoard: wandb and trackio, each an optional dependency."""

import importlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from distill.config.runs import RunConfig
from encoders.errors import InputError, MissingExtra
from encoders.files import atomic_path, read_bounded

PROJECT = "repvit-sam"
MAX_BYTES = 256  # of an identifier
IDENTIFIER = re.compile(r"[^\x00-\x1f\x7f/\\#?%:]{1,64}")  # as wandb takes it; earlier releases kept the letters of a name


class Logger(Protocol):
    """Where a run's numbers also go."""

    def values(self, values: Mapping[str, float | str], *, step: int) -> None:
        """Add numbers and texts of a step."""

    def picture(self, picture: Image.Image, *, step: int) -> None:
        """Add the picture of a probe."""

    def close(self) -> None:
        """Send what is left."""


class Tracker:
    """wandb, or trackio, which has the same interface.

    A run that goes on from a checkpoint continues the same record; of steps that it does again, wandb keeps the first values.

    Args:
        package: "wandb" or "trackio", the name of its extra too.
        folder: of the run; wandb keeps its files there.
        name: of the run.
        config: its settings.

    Raises:
        MissingExtra: the package is not installed.
        InputError: the run's `wandb_id` is damaged.
    """

    def __init__(self, package: str, *, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        try:
            self._package = importlib.import_module(package)
        except ImportError as error:
            raise MissingExtra(package, extra=package) from error
        known: dict[str, Any] = {"project": PROJECT, "name": name, "config": dict(config), "resume": "allow"}
        if package == "wandb":
            known |= {"id": _identifier(folder / "wandb_id", name=name), "dir": str(folder)}
        self._run = self._package.init(**known)

    def values(self, values: Mapping[str, float | str], *, step: int) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, picture: Image.Image, *, step: int) -> None:
        self._run.log({"probe/masks": self._package.Image(picture)}, step=step)

    def close(self) -> None:
        self._run.finish()


def open_loggers(run: RunConfig) -> list[Logger]:
    """Open the trackers that a run names.

    Raises:
        MissingExtra: one is not installed.
        InputError: see `Tracker`.
    """
    settings = run.model_dump(mode="json")
    return [Tracker(package, folder=run.folder, name=run.name, config=settings) for package in run.log.loggers]


def _identifier(path: Path, *, name: str) -> str:
    """Return the name by which a run is known to the tracker, made at its first start and kept in its folder."""
    if not path.is_file():
        safe = re.sub(r"[^\w.-]", "_", name[:48], flags=re.ASCII)
        with atomic_path(path) as temporary:
            temporary.write_text(f"{safe}-{secrets.token_hex(4)}")
    stored = read_bounded(path, max_bytes=MAX_BYTES, name=str(path))
    try:
        text = stored.decode()
    except UnicodeDecodeError:
        text = ""
    if IDENTIFIER.fullmatch(text) is None:
        raise InputError(f"{path} is damaged: it is not the identifier of a run; delete it, and a new record is begun")
    return text
