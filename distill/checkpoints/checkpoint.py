"""Training checkpoints: written atomically, verified before use, and loaded without running pickled code."""

import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from distill.checkpoints.checkpoint_files import READABLE, STATE, check_readable, read_state, save_state, write_sums
from distill.checkpoints.checkpoint_state import CheckpointState, check_fits, restore
from distill.ema import Ema
from distill.ranks import on_every_rank, on_first_rank
from encoders.errors import InputError, InputWarning
from encoders.files import atomic_path, write_errors

DAMAGED = ".damaged"  # suffix of a damaged checkpoint's name


def save_checkpoint(folder: Path, *, step: int, engine: Any, ema: Ema, data_id: str | None, keep: int) -> None:
    """Write checkpoints/step_N: module, optimizer, EMA, a readable json and checksums. Every rank must call it.

    Args:
        data_id: identifies the data and its order, which give the step its meaning; see `load_checkpoint`.
        keep: number of latest checkpoints to keep.

    Raises:
        InputError: the checkpoint cannot be written; the earlier ones are untouched.
    """
    on_first_rank(lambda: _save(folder, step=step, engine=engine, ema=ema, data_id=data_id, keep=keep))


def _save(folder: Path, *, step: int, engine: Any, ema: Ema, data_id: str | None, keep: int) -> None:
    final, temporary = folder / f"step_{step}", folder / f"step_{step}.tmp"
    state = {
        "ema": ema.state_dict(),
        "data_id": data_id,
        "module": engine.module.state_dict(),
        "optimizer": engine.optimizer.state_dict(),
    }
    with write_errors(final):
        for left in folder.glob("step_*.tmp"):  # left by a killed process
            shutil.rmtree(left)
        temporary.mkdir(parents=True)
        try:
            save_state(state, temporary / STATE)
            with atomic_path(temporary / READABLE) as path:
                path.write_text(json.dumps({"step": step, "ema_updates": ema.updates, "data_id": data_id}) + "\n")
            write_sums(temporary)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in list_checkpoints(folder)[:-keep]:
            shutil.rmtree(folder / f"step_{old}")


def load_checkpoint(folder: Path, *, engine: Any, ema: Ema, data_id: str | None) -> int:
    """Restore the latest valid checkpoint and return its global step, 0 if there is none. Every rank must call it.

    A damaged checkpoint is skipped with a note and renamed if an earlier one can be used instead.

    Raises:
        InputError: no checkpoint can be used, or the latest belongs to other data.
    """
    state: CheckpointState | None = None

    def choose() -> int:
        nonlocal state
        chosen, state = _latest_good(folder, engine=engine, ema=ema, data_id=data_id)
        return chosen

    step = on_first_rank(choose)
    if not step:
        return 0

    def take() -> None:
        there = state or read_state(folder / f"step_{step}", checked=True)  # the first rank has read and checked it
        restore(there, engine=engine, ema=ema)

    on_every_rank(take)
    return step


def _latest_good(
    folder: Path, *, engine: Any, ema: Ema, data_id: str | None
) -> tuple[int, CheckpointState | None]:
    """Return step and state of the latest usable checkpoint; 0 and None if there are no checkpoints."""
    reasons: dict[int, InputError] = {}
    for step in reversed(list_checkpoints(folder)):
        path = folder / f"step_{step}"
        check_readable(path)
        try:
            state = read_state(path)
            check_fits(state, engine=engine, ema=ema, name=f"{path / STATE}")
        except InputError as error:
            reasons[step] = error
            continue
        if "data_id" in state.model_fields_set and state.data_id != data_id:
            raise InputError(f"{path} was trained on data {state.data_id}, the config now names {data_id}")
        for damaged, reason in reasons.items():
            aside = _set_aside(folder / f"step_{damaged}")
            warnings.warn(InputWarning(f"{reason}; going on from step {step} instead, it is kept as {aside}"), stacklevel=2)
        return step, state
    if reasons:
        said = "; ".join(map(str, reasons.values()))
        raise InputError(f"{said}; no other checkpoint is left: bring back a copy, or delete {folder} to start from step 0")
    return 0, None


def _set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint so that it is no longer listed; return the new path."""
    aside = path.with_name(path.name + DAMAGED)
    with write_errors(aside):
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)
    return aside


def list_checkpoints(folder: Path) -> list[int]:
    """List the global steps of the complete checkpoints in ascending order."""
    found = [re.fullmatch(r"step_([1-9]\d{0,15})", path.name) for path in folder.glob("step_*")]
    return sorted(int(match[1]) for match in found if match)
