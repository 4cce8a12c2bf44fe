"""What models saw, found again beside their results: the observations that `evaluate` keeps to continue from."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import InputError, InputWarning
from eval_zeroshot.ap.hits import NO_OBJECT
from eval_zeroshot.report.guessed import guessed_primary, has_mean
from eval_zeroshot.results.observations import Observation, dataset_sha256, read_identity, read_observations
from eval_zeroshot.results.result import Result

SAME = ("dataset", "suite", "version", "protocol", "model", "image_size")  # what an identity and its result have in common
MAX_HEADER = 2**20  # bytes of the first line of a file of observations


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One model's observations in one suite.

    Attributes:
        photos: key -> observation.
        folder: where the suite kept files of the photos; it need not exist.
    """

    photos: dict[str, Observation]
    folder: Path


class ObservedFiles:
    """The observation files of some `.state` folders, read when they are asked for; none is changed.

    Args:
        states: folders; one that does not exist has nothing.

    Warns:
        InputWarning: the first line of a file is damaged, so that nobody knows whose observations it has.
    """

    def __init__(self, states: Iterable[Path]) -> None:
        self._files = [(identity, path) for path in newest_first(states) if (identity := _identity(path)) is not None]

    def of(self, result: Result) -> Seen | None:
        """The observations that a result was made from, None where there are none; a file of each rank is one of several.

        Of observations of several weights under one name, those of the result's checksum count, without one the newest.

        Raises:
            InputError: a line of a file is damaged, edited or something else; names the line.
        """
        stores: dict[tuple[Path, str], list[Path]] = {}  # newest first
        for identity, path in self._files:
            if _fits(identity, result):
                stores.setdefault((path.parent, str(identity.get("weights"))), []).append(path)
        for paths in stores.values():
            photos: dict[str, Observation] = {}
            for path in paths:
                photos |= {seen.key: seen for seen in read_observations(path)[1]}
            shown = dataset_sha256(seen.annotations_sha256 for seen in photos.values())
            if result.dataset_sha256 in (None, shown):
                shared = min(paths, key=lambda path: len(path.name))  # a rank's own file has more to its name
                return Seen(photos=photos, folder=shared.with_suffix(""))
        return None


def primary_values(result: Result, seen: Seen) -> dict[tuple[str, int], float] | None:
    """(photo's key, annotation id) -> the number whose mean is the result's value.

    None where there are none: the suite's value is no mean over objects, or the observations are not the result's, as their
    mean shows.
    """
    photos = list(seen.photos.values())
    name = guessed_primary(result, photos) if result.reading is None else result.reading.primary
    if name is None:
        return None
    values = {
        (photo.key, number): value
        for photo in photos
        for number, value in zip(photo.ids, photo.values.get(name, []), strict=False)
    }
    return values if has_mean(result, list(values.values())) else None


def mask_ious_of_hits(seen: Seen) -> dict[tuple[str, int], float]:
    """(photo's key, number of a detection) -> IoU of its mask, of detections whose box is of an object; see `hits`."""
    return {
        (photo.key, number): iou
        for photo in seen.photos.values()
        for number, iou, annotation in zip(
            photo.ids, photo.values.get("mask_iou", []), photo.values.get("annotation", []), strict=False
        )
        if annotation != NO_OBJECT
    }


def newest_first(states: Iterable[Path]) -> Sequence[Path]:
    """The files of lines in some folders."""
    entries = [path for state in dict.fromkeys(states) if state.is_dir() for path in state.iterdir()]
    found = [path for path in entries if path.suffix == ".jsonl" and path.is_file()]  # a pipe would be waited for
    return sorted(found, key=lambda path: (-path.stat().st_mtime_ns, path.name))


def first_line(path: Path) -> bytes:
    """The first line of a file of observations, at most MAX_HEADER bytes of it: whose they are."""
    with path.open("rb") as stream:
        return stream.readline(MAX_HEADER)


def _identity(path: Path) -> dict[str, Any] | None:
    """Whose observations a file has; None where it has none yet or is of something else, with a warning if it is damaged."""
    line = first_line(path)
    if not line.endswith(b"\n"):
        return None
    try:
        identity = read_identity(line, path=path)
    except InputError as error:
        warnings.warn(f"no cases and curves from it: {error}", InputWarning, stacklevel=2)
        return None
    return identity if "suite" in identity else None


def _fits(identity: dict[str, Any], result: Result) -> bool:
    if any(identity.get(name) != getattr(result, name) for name in SAME):
        return False
    return result.model_sha256 is None or identity.get("weights") == result.model_sha256
