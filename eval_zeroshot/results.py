"""One measured number with all that is needed to trust it, and files of such numbers, one JSON line each."""

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError, InputWarning
from encoders.files import atomic_path
from eval_zeroshot.metrics import mean_and_error

Direction = Literal["higher", "lower"]
Role = Literal["teacher", "student", "baseline"]
ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")


class Estimate(BaseModel):
    """A mean over n objects with its standard error; None where n is too small to have one.

    `low` and `high` are the ends of a 95 % bootstrap interval over photos, where it was made; see `statistics`. It takes
    objects of one photo as they are, together; the standard error takes them for independent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    n: int
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Mean, count and standard error of per-object values."""
        value, error = mean_and_error(values)
        return cls(value=value, n=len(values), standard_error=error)


class Result(Estimate):
    """What one model reached in one suite on one data set.

    Attributes:
        suite, version, protocol: what was measured, exactly; two versions are never compared.
        direction: whether a higher or a lower value is better.
        model: name under which the model was given; role, architecture, sha256 of its weights and image size beside it.
        padding: False where the model encoded photos in their own aspect; None, and not written, where in padded squares.
        dataset: name of the data set, with its limit if not all of it was used.
        dataset_sha256: of its annotations, so that two data sets of one name are told apart; None where it was not taken.
        images: photos seen, those without objects included.
        value, n, standard_error: the primary number over n objects.
        skipped: objects left out, by reason.
        breakdown: the primary number by size of object.
        extra: further numbers of the same objects, each with its own n.
        detector, detector_sha256: name and checksum of the file that the boxes came from, where a suite takes such.
        reference: the model whose masks `agreement` is measured against.
        against: the model that `difference` is taken against.
        difference: value of this model minus that of `against` on the same photos, its error and interval paired: both models
            are resampled together.
    """

    suite: str
    version: str
    protocol: str
    direction: Direction = "higher"
    model: str
    role: Role = "student"
    arch: str | None = None
    model_sha256: str | None = None
    image_size: int | None = None
    padding: Literal[False] | None = None
    dataset: str
    dataset_sha256: str | None = None
    images: int = 0
    skipped: dict[str, int] = Field(default_factory=dict)
    breakdown: dict[str, Estimate] = Field(default_factory=dict)
    extra: dict[str, Estimate] = Field(default_factory=dict)
    detector: str | None = None
    detector_sha256: str | None = None
    reference: str | None = None
    against: str | None = None
    difference: Estimate | None = None
    seed: int = 0

    def to_line(self) -> str:
        """The JSON line of this result, newline included; no date, so the same run gives the same bytes."""
        line = self.model_dump(mode="json")
        if self.padding is None:
            del line["padding"]
        return json.dumps(line, sort_keys=True, allow_nan=False) + "\n"

    @property
    def sort_key(self) -> tuple[str, str, str, int, str]:
        """Data set, suite, then teacher before students before baselines."""
        return self.dataset, self.suite, self.version, ROLES.index(self.role), self.model


def write_results(path: Path | str, results: Iterable[Result]) -> None:
    """Write results in stable order under a temporary name, then rename: the file is whole or absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(result.to_line() for result in sorted(results, key=lambda result: result.sort_key))


def others(earlier: Iterable[Result], *, than: Iterable[Result]) -> list[Result]:
    """Of earlier results those that the new ones do not replace: another data set, protocol or model."""

    def identity(result: Result) -> tuple[str, ...]:
        return result.dataset, result.suite, result.version, result.protocol, result.model

    replaced: dict[tuple[str, ...], set[str | None]] = {}
    for result in than:
        replaced.setdefault(identity(result), set()).add(result.dataset_sha256)

    def is_replaced(result: Result) -> bool:  # results of earlier versions do not say of which annotations they are
        digests = replaced.get(identity(result), set())
        return bool(digests) and (result.dataset_sha256 is None or result.dataset_sha256 in digests)

    return [result for result in earlier if not is_replaced(result)]


def append_results(path: Path | str, results: Iterable[Result]) -> None:
    """Add lines to a results file; the fragment of a line that a killed writer left is cut off, with a warning."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    drop_torn_line(path)
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(result.to_line() for result in results)
        stream.flush()
        os.fsync(stream.fileno())


def drop_torn_line(path: Path) -> None:
    """Cut an unterminated last line off a JSON-lines file, with a warning; it was never finished."""
    if not path.is_file():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        warnings.warn(f"{path}: dropped an unfinished last line of {len(data) - whole} bytes", InputWarning, stacklevel=3)
        with path.open("r+b") as stream:
            stream.truncate(whole)


def read_results(path: Path | str) -> list[Result]:
    """All results of a JSON-lines file, in its order. An unterminated last line is left out with a warning.

    Raises:
        InputError: the file is missing, a finished line is no result (it names the line), or no line is finished.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a results file written by an evaluation (JSON lines)")
    results = []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n") and not _is_result(line):
            if len(lines) == 1:
                raise InputError(f"{path} has no finished line; expected a results file written by an evaluation (JSON lines)")
            warnings.warn(f"{path}: line {number} is unfinished and was left out", InputWarning, stacklevel=2)
            continue
        if not line.strip():
            continue
        try:
            results.append(Result.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise InputError(f"{path}, line {number}: not a result ({where}: {first['msg']})") from error
    return results


def _is_result(line: str) -> bool:
    """Whether a line is whole but for its end."""
    try:
        Result.model_validate_json(line)
    except ValidationError:
        return False
    return True
