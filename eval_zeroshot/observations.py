"""What a suite saw on one photo, and a file of it, so that an evaluation continues where it was stopped."""

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError
from eval_zeroshot.results import drop_torn_line


class Observation(BaseModel):
    """One model, one suite, one photo with P objects that count.

    Attributes:
        key: the photo's `Sample.key`.
        image_sha256, annotations_sha256: the sample's; empty where an observation was made outside `evaluate`.
        ids: (P,) annotation ids.
        areas: (P,) annotated areas in pixels.
        values: name of a number -> (P,) values.
        masks: (P,) the answered masks that agreement is measured on, as COCO RLE.
        skipped: objects left out, by reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    image_sha256: str = ""
    annotations_sha256: str = ""
    ids: list[int] = Field(default_factory=list)
    areas: list[float] = Field(default_factory=list)
    values: dict[str, list[float]] = Field(default_factory=dict)
    masks: list[dict[str, Any]] = Field(default_factory=list)
    skipped: dict[str, int] = Field(default_factory=dict)


def dataset_sha256(annotations: Iterable[str]) -> str:
    """One sha256 of all photos' `annotations_sha256`, whatever their order."""
    return hashlib.sha256("".join(sorted(annotations)).encode()).hexdigest()


class ObservationStore:
    """Observations by key, kept in memory and, where a path is given, one JSON line each on disk.

    The first line says whose observations they are. A line that a killed run left unfinished is cut off. Processes that share
    the photos have a file each, beside `path`, and whoever opens the store later reads them all.

    Args:
        path: file to continue or to begin, ending in .jsonl; None keeps nothing.
        identity: suite, version, data set, sha256 of the weights, whatever makes observations comparable.
        part: name of this process's own file, between the name of `path` and its ending; None writes to `path` itself.

    Raises:
        InputError: the file has observations of another identity, or a line of it is none, or another process is writing it.
    """

    def __init__(self, path: Path | None, *, identity: Mapping[str, Any], part: str | None = None) -> None:
        self.path = path
        self.identity = dict(identity)
        self.found: dict[str, Observation] = {}
        if path is None:
            return
        self._own = path if part is None else path.with_name(f"{path.stem}.{part}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = opened_alone(self._own)
        try:
            drop_torn_line(self._own)
            for file in sorted(path.parent.glob(f"{glob.escape(path.stem)}.*jsonl")):
                self._read(file)
            if not self._own.stat().st_size:
                self._append(json.dumps(self.identity, sort_keys=True))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others write; what was found stays."""
        if self.path is not None:
            self._stream.close()

    @property
    def folder(self) -> Path | None:
        """Where a suite may keep files of the same identity; None where nothing is kept."""
        return None if self.path is None else self.path.with_suffix("")

    def get(self, key: str, *, ids: list[int], image_sha256: str, annotations_sha256: str) -> Observation | None:
        """The stored observation of a photo, None if there is none yet.

        Raises:
            InputError: it is of other pixels, annotations or objects: the data set has changed under its name, or is another.
        """
        observation = self.found.get(key)
        if observation is None:
            return None
        before = observation.annotations_sha256  # observations of earlier versions have no checksums
        changed = {
            "pixels": observation.image_sha256 not in ("", image_sha256),
            "annotations": before not in ("", annotations_sha256) or observation.ids != ids,
        }
        if any(changed.values()):
            what = " and ".join(name for name, differs in changed.items() if differs)
            raise InputError(
                f"{self.path}: photo {key} was evaluated with other {what} than the data set {self.identity.get('dataset')!r} "
                "has now; choose another --out for another data set, or delete this file to evaluate again"
            )
        return observation

    def add(self, observation: Observation) -> None:
        """Keep one photo's observation; on disk when this returns."""
        self.found[observation.key] = observation
        if self.path is not None:
            self._append(observation.model_dump_json())

    def _append(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _read(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if not lines or not lines[-1].endswith("\n"):
            lines = lines[:-1]  # another process is just writing it
        if not lines:
            return
        first, *rest = lines
        try:
            identity = json.loads(first)
        except ValueError as error:
            raise InputError(f"{path}, line 1: not the header of an observations file ({error})") from error
        if identity != self.identity:
            raise InputError(f"{path} has observations of {identity}, expected {self.identity}; choose another folder")
        for number, line in enumerate(rest, start=2):
            try:
                observation = Observation.model_validate_json(line)
            except ValidationError as error:
                raise InputError(
                    f"{path}, line {number}: not an observation; delete this file to start over"
                ) from error
            self.found[observation.key] = observation


def opened_alone(path: Path) -> TextIO:
    """A file to add lines to, which no other process adds to meanwhile; where the system has no locks, it is trusted."""
    stream = path.open("a", encoding="utf-8")
    try:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.close()
        raise InputError(f"{path} is being written by another process; wait until it ends, or choose another --out") from error
    except (ImportError, OSError):
        pass  # Windows, or a file system without locks
    return stream
