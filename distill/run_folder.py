"""The run folder: its config and run.json, and checks before a run is started or resumed."""

import json
import platform
import subprocess
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.checkpoints.checkpoint import list_checkpoints
from distill.config.reading import write_config
from distill.config.runs import Run, RunConfig, other_stage, run_model
from distill.monitoring.monitor import METRICS
from distill.versions import reported_versions
from encoders.errors import InputError, InputWarning
from encoders.files import atomic_path, check_output_folder, sha256_file
from encoders.locks import held
from encoders.untrusted import read_json, read_yaml
from encoders.weights.weights_file import RUN_FILES

LOCK, CONFIG_FILE, RUN_JSON, CHECKPOINTS = "run.lock", "config.yaml", "run.json", "checkpoints"
MAX_JSON_BYTES = 2**24
_ANY = ""  # placeholder for an unknown checksum
MAY_CHANGE = (
    *("licences", "log", "checkpoint", "out", "mask_data.num_workers", "schedule.steps", "schedule.epochs"),
    *("compute.compile", "compute.activation_checkpointing", "compute.tf32"),
    *("data.num_workers", "data.cache", "data.local_cache", "data.local_cache_gib"),
    *("export", "probe.pictures", "probe.pictures_every", "probe.patience", "probe.alarm"),
)


class EarlyStop(BaseModel):
    """A run that ended early: the steps planned, and the setting by which it did."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    of_steps: int
    patience: int


class RunRecord(BaseModel):
    """The fields read from run.json. `sha256`, by weights file name, is missing in those of earlier releases."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    steps: Annotated[int, Field(ge=0, strict=True)]
    sha256: dict[str, str] = {}
    stopped_early: EarlyStop | None = None


def only_process(folder: Path) -> AbstractContextManager[None]:
    """Lock a run folder for this process; the lock is released when the process ends in any way.

    Raises:
        InputError: another process holds the lock, or the folder is not writable.
    """
    return held(folder / LOCK, use="trains")


def check_run(config: Run) -> dict[str, Any] | None:
    """Check that the run folder is empty or holds a run of the same config; nothing is written.

    The length of the schedule and settings that do not affect training may differ.

    Returns:
        The settings of the run to resume; None if no run has written a checkpoint, metrics or weights yet.

    Raises:
        InputError: the folder holds a run of another config (names the differing keys), or its config.yaml is damaged or
            not that of a run.
    """
    folder = config.folder
    file = folder / CONFIG_FILE
    if not file.exists():
        return None
    try:
        before = read_yaml(file)
    except InputError as error:
        raise InputError(f"{error}; bring back a copy, or delete it to go on under the config given now") from error
    if not isinstance(before, dict) or not {"name", "model", "schedule"} <= before.keys():
        raise InputError(f"{file} is not the config of a run; choose another out, or move it away")
    if not has_begun(folder):
        return None
    invalid = ""
    try:  # settings added since it was written get their defaults; earlier versions also wrote those of the other stage
        model = run_model(before)
        before = {key: value for key, value in before.items() if not other_stage(key, model=model)}
        before = model.model_validate(before).model_dump(mode="json")
    except ValidationError as error:
        invalid = f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
    except InputError as error:
        invalid = str(error)
    there, now = _flat(before), _flat(config.model_dump(mode="json"))
    changed = sorted(k for k in there.keys() | now.keys() if there.get(k) != now.get(k) and not _may_change(k))
    if changed:
        changed = ["stage"] if "stage" in changed else changed
        listed = "; ".join(f"{key}: {there.get(key)!r} there, {now.get(key)!r} now" for key in changed[:5])
        raise InputError(f"{folder} holds a run of another config ({listed}); use another name or out, or delete the folder")
    if invalid:
        raise InputError(f"{file} is damaged: {invalid}; delete it to go on under the config given now")
    return before


def has_begun(folder: Path) -> bool:
    """Return whether a run has written a checkpoint, metrics or weights; a run that failed at its start has not."""
    metrics = folder / METRICS
    weights = any((folder / name).exists() for name in (*RUN_FILES, RUN_JSON))
    return weights or any((folder / CHECKPOINTS).glob("step_*")) or (metrics.is_file() and metrics.stat().st_size > 0)


def claim_run(config: RunConfig) -> None:
    """Write the config into the run folder, which assigns the folder to this run.

    Raises:
        InputError: the config cannot be written, or checkpoints could not be.
    """
    check_output_folder(config.folder / CHECKPOINTS)
    with atomic_path(config.folder / CONFIG_FILE) as temporary:
        write_config(config, temporary)


def steps_done(folder: Path, *, steps: int, patience: int | None = None) -> int | None:
    """Return the number of steps of a run that has finished with intact weights; None if it has not.

    Finished is a run of this many steps, or one that ended early by the same patience. run.json is written last. If the
    weights are damaged, this prints a note and they are exported again from the last checkpoint.

    Raises:
        InputError: run.json is damaged; the run had more steps; or there is no checkpoint to resume from or to restore
            damaged weights from.
    """
    record = read_run_json(folder)
    if record is None or not all((folder / name).is_file() for name in RUN_FILES):
        return None
    if steps < record.steps:
        raise InputError(f"{folder} is finished with {record.steps} steps, more than the {steps} of schedule; use another name")
    damaged = [name for name in RUN_FILES if record.sha256.get(name, _ANY) not in (_ANY, sha256_file(folder / name))]
    stopped = EarlyStop(of_steps=steps, patience=patience) if patience is not None else None
    if not damaged and (steps == record.steps or (stopped is not None and record.stopped_early == stopped)):
        return record.steps
    why = f"{folder} is finished with {record.steps} of {steps} steps"
    if damaged:
        why = f"{folder / damaged[0]} is damaged: its sha256 is not that of {RUN_JSON}"
    if not list_checkpoints(folder / CHECKPOINTS):
        raise InputError(f"{why}, and no checkpoint is left to go on from; bring back a copy, or use another name")
    if damaged:
        warnings.warn(InputWarning(f"{why}; it is made again from the last checkpoint"), stacklevel=2)
    return None


def read_run_json(folder: Path) -> RunRecord | None:
    """Read run.json; None if it does not exist.

    Raises:
        InputError: it is damaged.
    """
    file = folder / RUN_JSON
    if not file.exists():
        return None
    try:
        return RunRecord.model_validate(read_json(file, max_bytes=MAX_JSON_BYTES))
    except (InputError, ValidationError) as error:
        said = f"{error}" if isinstance(error, InputError) else f"{file} is damaged: {error.errors()[0]['msg']}"
        raise InputError(f"{said}; delete it, and the run writes its weights and it again from the last checkpoint") from error


def write_run_json(folder: Path, facts: dict[str, Any]) -> None:
    """Write run.json: the given facts, checksums of the weights, versions and the git revision of a source checkout."""
    content = facts | {"versions": reported_versions(), "python": platform.python_version(), "git_revision": _git_revision()}
    content |= {"sha256": {name: sha256_file(folder / name) for name in RUN_FILES}}
    with atomic_path(folder / RUN_JSON) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {key: v for name, sub in tree.items() for key, v in _flat(sub, f"{prefix}.{name}".lstrip(".")).items()}


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def _git_revision() -> str | None:
    """Return the git revision of the checkout that tracks this file; None for an installed package."""
    try:
        tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("rev-parse", "HEAD") if tracked else None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return answer.stdout.strip() or None
