"""One measured number with all that is needed to trust it, and files of such numbers, one JSON line each."""

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError, InputWarning
from encoders.files import atomic_path, check_output_folder, read_bounded, write_errors
from encoders.untrusted import parse_json, whole_lines
from eval_zeroshot.metrics.masks import mean_and_error
from eval_zeroshot.results.appending import append_text, drop_torn_line
from eval_zeroshot.results.lines import FIELD, parse_line, problem, with_checksum
from eval_zeroshot.results.reading import Reading

Direction = Literal["higher", "lower"]
Role = Literal["teacher", "student", "baseline"]
ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")
MAX_BYTES = 2**28  # of a file of results
EXPECTED = "expected a results file that `repvit-sam eval --out` wrote"
EDITED = f"run eval again, or, if you changed it on purpose, remove its field {FIELD}"


class Estimate(BaseModel):
    """A mean over n objects with its standard error; None where n is too small to have one. All numbers are finite.

    `low` and `high` are the ends of a 95 % bootstrap interval over photos, where it was made; see `statistics`. It takes
    objects of one photo as they are, together; the standard error takes them for independent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
        reading: what its suite says of these numbers; None, and not written, in results of earlier versions.
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
    reading: Reading | None = None

    def to_line(self) -> str:
        """The JSON line of this result, checksum and newline included; no date, so the same run gives the same bytes."""
        line = self.model_dump(mode="json")
        for name in ("padding", "reading"):  # lines of earlier versions have neither
            if line[name] is None:
                del line[name]
        return json.dumps(with_checksum(line), sort_keys=True, allow_nan=False) + "\n"

    @property
    def sort_key(self) -> tuple[str, str, str, int, str]:
        """Data set, suite, then teacher before students before baselines."""
        return self.dataset, self.suite, self.version, ROLES.index(self.role), self.model


def write_results(path: Path | str, results: Iterable[Result]) -> None:
    """Write results in stable order under a temporary name, then rename: the file is whole or absent.

    Raises:
        InputError: it cannot be written, as on a full disk.
    """
    path = Path(path)
    check_output_folder(path.parent)
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
    """Add lines to a results file, all or none; the fragment of a line that a killed writer left is cut off, with a warning.

    Raises:
        InputError: it cannot be written, as on a full disk.
    """
    path = Path(path)
    check_output_folder(path.parent)
    with write_errors(path):
        drop_torn_line(path)
    append_text(path, "".join(result.to_line() for result in results))


def read_results(path: Path | str) -> list[Result]:
    """All results of a JSON-lines file, in its order. A last line that was cut off is left out with a warning.

    Raises:
        InputError: the file is missing, or a line is damaged, edited or no result (it names the line), or no line is whole.
    """
    try:
        lines, last = whole_lines(read_bounded(Path(path), max_bytes=MAX_BYTES, name=str(path)))
    except InputError as error:
        raise InputError(f"{str(error).removesuffix('; expected a file')}; {EXPECTED}") from error
    if last.strip():
        if _is_json(last):  # it lacks its newline alone
            lines.append(last)
        elif not lines:
            raise InputError(f"{path} has no finished line; {EXPECTED}")
        else:
            warnings.warn(f"{path}: line {len(lines) + 1} is unfinished and was left out", InputWarning, stacklevel=2)
    return [_result(line, name=f"{path}, line {number},") for number, line in enumerate(lines, start=1) if line.strip()]


def _result(line: bytes, *, name: str) -> Result:
    try:
        record, _ = parse_line(line, name=name, edited=EDITED)
        return Result.model_validate(record)
    except ValidationError as error:
        raise InputError(f"{name} is not a result ({problem(error)}); {EXPECTED}") from error
    except InputError as error:
        if EDITED in str(error):
            raise
        said = str(error).removesuffix("; expected a JSON object")
        raise InputError(f"{said}; {EXPECTED}") from error


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line, name="line")
    except InputError:
        return False
    return True
