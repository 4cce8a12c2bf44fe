"""Precompute in processes of their own, to be killed, stopped and compared. They start in milliseconds: a server forks."""

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from encoders.files import sha256_file
from tests.shards.helpers import standin

KEPT = ("cache.json", "manifest.jsonl", "quarantine.jsonl")


def content(folder: Path) -> dict[str, str]:
    """sha256 of what a cache consists of; progress.jsonl holds times."""
    return {p.name: sha256_file(p) for p in folder.iterdir() if p.suffix == ".tar" or p.name in KEPT}


def server() -> ForkServerContext:
    """Where processes come from: one that has imported what takes long, and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.shards.helpers.standin", "shards.pipeline.precompute"])
    return context


def begin(source: Path, out: Path, *, rank: int = 0, world_size: int = 1, **settings: Any) -> BaseProcess:
    """Start a precompute with the stand-in teacher; it has no time to say goodbye when killed."""
    call = {"rank": rank, "world_size": world_size, "max_bad_fraction": 0.2, **settings}
    process = server().Process(target=standin.run_alone, args=(source, out), kwargs=call, daemon=True)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """kill -9, and wait until it is gone. It must have been at work."""
    assert process.pid is not None and process.is_alive(), "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def wait(*processes: BaseProcess, seconds: float = 60) -> list[int | None]:
    """Exit codes, None for one that still runs."""
    for process in processes:
        process.join(seconds)
    return [process.exitcode for process in processes]
