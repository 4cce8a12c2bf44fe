"""What a suite saw on one photo, and a file of it, so that an evaluation continues where it was stopped."""

import glob
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError
from encoders.files import read_bounded, write_errors
from encoders.samples.rle import to_rle
from encoders.untrusted import whole_lines
from eval_zeroshot.results.appending import AppendedFile
from eval_zeroshot.results.lines import parse_line, problem, with_checksum

MAX_BYTES = 2**34  # of a file of observations
ASK_AGAIN = "delete the line and run eval again, which asks about its photo anew"
START_OVER = "delete the file and run eval again"


class Observation(BaseModel):
    """One model, one suite, one photo with P objects that count. All numbers are finite.

    Attributes:
        key: the photo's `Sample.key`.
        image_sha256, annotations_sha256: the sample's; empty where an observation was made outside `evaluate`.
        ids: (P,) annotation ids.
        areas: (P,) annotated areas in pixels.
        values: name of a number -> (P,) values.
        masks: (P,) the answered masks that agreement is measured on, as COCO RLE.
        skipped: objects left out, by reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: str
    image_sha256: str = ""
    annotations_sha256: str = ""
    ids: list[int] = Field(default_factory=list)
    areas: list[float] = Field(default_factory=list)
    values: dict[str, list[float]] = Field(default_factory=dict)
    masks: list[dict[str, Any]] = Field(default_factory=list)
    skipped: dict[str, int] = Field(default_factory=dict)

    def to_line(self) -> str:
        """The JSON line of this observation, checksum and newline included."""
        return _line(self.model_dump(mode="json"))


def dataset_sha256(annotations: Iterable[str]) -> str:
    """One sha256 of all photos' `annotations_sha256`, whatever their order."""
    return hashlib.sha256("".join(sorted(annotations)).encode()).hexdigest()


class ObservationStore:
    """Observations by key, kept in memory and, where a path is given, one JSON line each on disk.

    The first line says whose observations they are; a file is there once something was observed. A line that a killed run left
    unfinished is cut off. Processes that share the photos have a file each, beside `path`, and whoever opens the store later
    reads them all.

    Args:
        path: file to continue or to begin, ending in .jsonl; None keeps nothing.
        identity: suite, version, data set, sha256 of the weights, whatever makes observations comparable.
        part: name of this process's own file, between the name of `path` and its ending; None writes to `path` itself.

    Raises:
        InputError: the file has observations of another identity, a line of it is none or was changed, another process is
            writing it, or it cannot be written.
    """

    def __init__(self, path: Path | None, *, identity: Mapping[str, Any], part: str | None = None) -> None:
        self.path = path
        self.identity = dict(identity)
        self.found: dict[str, Observation] = {}
        if path is None:
            return
        self._own = AppendedFile(path if part is None else path.with_name(f"{path.stem}.{part}.jsonl"))
        try:
            for file in sorted(path.parent.glob(f"{glob.escape(path.stem)}.*jsonl")):
                self._read(file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others write; what was found stays."""
        if self.path is not None:
            self._own.close()

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
        """Keep one photo's observation; on disk when this returns.

        Raises:
            InputError: it cannot be written. Those before it stay on disk.
        """
        if self.path is not None:
            header = _line(self.identity) if self._own.is_empty else ""
            try:
                self._own.append(header + observation.to_line())
            except InputError as error:
                more = "or make room there and run the same command again: what was seen so far stays"
                raise InputError(f"{error}, {more}") from error
        self.found[observation.key] = observation

    def _read(self, path: Path) -> None:
        identity, observations = read_observations(path)
        if identity is not None and identity != self.identity:
            raise InputError(f"{path} has observations of {identity}, expected {self.identity}; choose another folder")
        self.found |= {observation.key: observation for observation in observations}


def read_observations(path: Path) -> tuple[dict[str, Any] | None, list[Observation]]:
    """Whose observations a file has, None where it has no finished line yet, and those of its finished lines, in its order.

    What follows the last newline is left out: another process is just writing it, or was killed while it did.

    Raises:
        InputError: the file cannot be read, or a line is damaged, edited or something else; names the line.
    """
    lines, _ = whole_lines(read_bounded(path, max_bytes=MAX_BYTES, name=str(path)))
    if not lines:
        return None, []
    identity = read_identity(lines[0], path=path)
    return identity, [_observation(line, name=f"{path}, line {number},") for number, line in enumerate(lines[1:], start=2)]


def read_identity(line: bytes, *, path: Path) -> dict[str, Any]:
    """Whose observations a file has, by its first line.

    Raises:
        InputError: the line is damaged, edited or something else.
    """
    with _told(START_OVER):
        return parse_line(line, name=f"{path}, line 1,", edited=START_OVER)[0]


def _observation(line: bytes, *, name: str) -> Observation:
    with _told(ASK_AGAIN):
        record, vouched = parse_line(line, name=name, edited=ASK_AGAIN)
        try:
            observation = Observation.model_validate(record)
            if not vouched:  # pycocotools trusts what it reads
                for mask in observation.masks:
                    to_rle(mask, shape=(mask["size"][0], mask["size"][1]))
        except (ValidationError, InputError, LookupError, TypeError) as error:
            raise InputError(f"{name} is not an observation ({problem(error)})") from error
        return observation


@contextmanager
def _told(remedy: str) -> Iterator[None]:
    """Add what to do to an InputError in the block that does not say it."""
    try:
        yield
    except InputError as error:
        if remedy in str(error):
            raise
        raise InputError(f"{error}; {remedy}") from error


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(with_checksum(record), separators=(",", ":"), allow_nan=False) + "\n"


@contextmanager
def opened_alone(path: Path) -> Iterator[None]:
    """No other process is inside such a block of the same file; where the system has no locks, it is trusted.

    The file and its folder are made, with a .gitignore where the folder is new. After the block the file is gone, and the
    folder too if nothing else was put into it.

    Raises:
        InputError: another process is, or the file cannot be made.
    """
    lock, folder, ignore = AppendedFile(path), path.parent, path.with_name(".gitignore")
    try:
        if not {*folder.iterdir()} - {path}:
            with write_errors(ignore):
                ignore.write_text("*\n")
        yield
    finally:
        with suppress(OSError):
            if not {*folder.iterdir()} - {path, ignore}:
                ignore.unlink(missing_ok=True)
        lock.close()
        with suppress(OSError):  # it is not empty
            folder.rmdir()
