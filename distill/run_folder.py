"""A run folder: its config, where it came from, whether it may go on."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from distill.config import DistillConfig, write_config
from distill.versions import reported_versions
from encoders.errors import InputError
from encoders.files import atomic_path
from encoders.weights_file import RUN_FILES

LOCK = "run.lock"
MAY_CHANGE = (
    *("licences", "log", "checkpoint", "out", "mask_data.num_workers"),
    *("data.num_workers", "data.cache", "data.local_cache", "data.local_cache_gib"),
)


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; it is free again when the process ends, however it ends.

    Raises:
        InputError: another process holds it, e.g. one that lost its terminal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip()
            raise InputError(f"{folder} is in use: process {holder} trains there; wait for it, or end it") from error
        except OSError:  # a file system without locks
            pass
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def open_run(config: DistillConfig) -> None:
    """Make the run folder, or check that it belongs to the same run.

    Raises:
        InputError: the folder holds a run of another config; the differing keys are named.
    """
    folder = config.folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    if file.exists():
        before, now = _flat(yaml.safe_load(file.read_text())), _flat(config.model_dump(mode="json"))
        changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k) and not _may_change(k))
        if changed:
            listed = "; ".join(f"{key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in changed[:5])
            raise InputError(
                f"{folder} holds a run of another config ({listed}); use another name or out, or delete the folder"
            )
    with atomic_path(file) as temporary:
        write_config(config, temporary)


def is_finished(folder: Path, *, steps: int) -> bool:
    """Whether a run of so many steps has left its weights: run.json is the last thing it writes."""
    file = folder / "run.json"
    if not file.is_file() or not all((folder / name).is_file() for name in RUN_FILES):
        return False
    return bool(json.loads(file.read_text()).get("steps") == steps)


def write_run_json(folder: Path, facts: dict[str, Any]) -> None:
    """Write run.json: the given facts, versions and the git revision of a source checkout."""
    content = facts | {"versions": reported_versions(), "python": platform.python_version(), "git_revision": _git_revision()}
    with atomic_path(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {key: v for name, sub in tree.items() for key, v in _flat(sub, f"{prefix}.{name}".lstrip(".")).items()}


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def _git_revision() -> str | None:
    """Revision of the checkout that this file is tracked in; None for an installed package, whatever folder it is in."""
    try:
        tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("rev-parse", "HEAD") if tracked else None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return answer.stdout.strip() or None
