"""Checkpoints of a run: written whole or not at all, loaded without pickled code."""

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from distill.ema import Ema
from encoders.errors import InputError
from encoders.files import atomic_path

STATE, READABLE = "state.pt", "state.json"


def save_checkpoint(folder: Path, *, step: int, engine: Any, ema: Ema, data_id: str | None, keep: int, rank: int) -> None:
    """Write checkpoints/step_N: module, optimizer, EMA, and a json for people. Every rank calls it.

    `data_id` names the data whose order the step counts, see `load_checkpoint`.

    ZeRO-1 and above scatter the optimizer's state; DeepSpeed's own format holds it then.
    """
    final = folder / f"step_{step}"
    temporary = folder / f"step_{step}.tmp"
    if rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    barrier()
    state: dict[str, Any] = {"ema": ema.state_dict(), "data_id": data_id}
    if engine.zero_optimization_stage() == 0:
        state |= {"module": engine.module.state_dict(), "optimizer": engine.optimizer.state_dict()}
    else:
        engine.save_checkpoint(str(temporary), tag="deepspeed")
    if rank == 0:
        with atomic_path(temporary / STATE) as path:
            torch.save(state, path)
        with atomic_path(temporary / READABLE) as path:
            path.write_text(json.dumps({"step": step, "ema_updates": ema.updates, "data_id": data_id}) + "\n")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in list_checkpoints(folder)[:-keep]:
            shutil.rmtree(folder / f"step_{old}")
    barrier()


def load_checkpoint(folder: Path, *, engine: Any, ema: Ema, data_id: str | None) -> int:
    """Restore the latest complete checkpoint; returns its global step, 0 where there is none.

    Raises:
        InputError: the checkpoint cannot be read, or counts steps through other data.
    """
    steps = list_checkpoints(folder)
    if not steps:
        return 0
    path = folder / f"step_{steps[-1]}"
    try:
        state = torch.load(path / STATE, weights_only=True, map_location=engine.device)
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it to go on from the one before") from error
    if state.get("data_id", data_id) != data_id:
        raise InputError(f"{path} was trained on data {state.get('data_id')}, the config now names {data_id}")
    if engine.zero_optimization_stage() == 0:
        engine.module.load_state_dict(state["module"])
        engine.optimizer.load_state_dict(state["optimizer"])
    else:
        engine.load_checkpoint(str(path), tag="deepspeed")
    ema.load_state_dict(state["ema"])
    return steps[-1]


def list_checkpoints(folder: Path) -> list[int]:
    """Global steps of the complete checkpoints, ascending."""
    found = [re.fullmatch(r"step_(\d+)", path.name) for path in folder.glob("step_*")]
    return sorted(int(match[1]) for match in found if match)


def barrier() -> None:
    """Wait for all ranks."""
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.barrier()
