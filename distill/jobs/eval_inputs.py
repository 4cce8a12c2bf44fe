"""Inputs of an evaluation, opened before any model: suites, data and output files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.jobs.own_photos import mask_files, open_own_photos
from distill.jobs.reference_model import find_reference
from distill.jobs.sample_data import resolve_data
from distill.launching.world import World
from encoders.errors import InputError
from encoders.files import check_output
from eval_zeroshot import Result, open_dataset, read_results
from eval_zeroshot.datasets.opening import COMMON_NAMES, EvalDataset
from eval_zeroshot.predictors.reference import ReferencedPhotos
from eval_zeroshot.suites.base import Suite
from eval_zeroshot.suites.registry import choose_suites, needs_annotations
from shards.cache.identity import CACHE_FILE
from shards.sources.base import PHOTO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The opened inputs of an evaluation.

    Attributes:
        out: file for results.
        suites, dataset: what is asked about what.
        state: folder of what was seen.
        earlier: results that `out` holds.
        referenced: the photos behind `dataset` where a model's masks stand in for annotations; None elsewhere.
    """

    out: Path
    suites: Sequence[Suite]
    dataset: EvalDataset
    state: Path
    earlier: list[Result]
    referenced: ReferencedPhotos | None = None


def checked_state(out: Path) -> Path:
    """Return the folder for stored observations, next to the results; raises InputError if either is not writable."""
    state = out.with_suffix(".state")
    check_output(out)
    if state == out or (state.exists() and not state.is_dir()):
        raise InputError(f"what was seen would be kept in the folder {state}, which is a file; choose another --out")
    return state


def plan(
    suites: Sequence[str],
    *,
    data: str,
    out: Path,
    boxes: Path | None = None,
    images: Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    present_only: bool = False,
    clicks: Sequence[int] | None = None,
    reference: str | None = None,
    models: Mapping[str, str] | None = None,
    arch: str | None = None,
    image_size: int | None = None,
    part: str | None = None,
) -> Plan:
    """Open everything that an evaluation needs except its models.

    Args:
        reference, models, arch, image_size: of agreement, see `find_reference`; other suites do without.
        part: name of this process's own files, where several share the photos.

    Raises:
        InputError: an unknown suite, no data, or `out` cannot be written or holds something else than results.
    """
    state, path = checked_state(out), resolve_data(data)
    earlier = read_results(out) if out.exists() else []
    if all(map(needs_annotations, suites)):
        chosen = choose_suites(suites, data=path, boxes=boxes, clicks=clicks)
        try:
            dataset = open_dataset(path, images=images, split=split, limit=limit, present_only=present_only)
        except InputError as error:
            if has_own_photos(path):
                raise InputError(
                    f"{data} holds photos without annotations, which the suites {', '.join(suites)} need; measure agreement "
                    "with a teacher, which needs none: -s agreement --reference TEACHER"
                ) from error
            raise
        return Plan(out=out, suites=chosen, dataset=dataset, state=state, earlier=earlier)
    refused = {"--boxes": boxes, "--split": split, "--present-only": present_only or None, "--clicks": clicks}
    for option, value in refused.items():
        if value is not None:
            raise InputError(f"{option} is of no use for agreement, which needs photos alone; leave it out")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} leaves no photo; give a positive number")
    photos, maker = open_own_photos(path, images=images)
    found = find_reference(
        reference, models=models or {}, maker=maker, data=path, arch=arch, image_size=image_size
    )
    referenced = ReferencedPhotos(photos, reference=found, name=data_name(path), state=state, part=part)
    return Plan(
        out=out,
        suites=choose_suites(suites, data=path, photos=referenced),
        dataset=EvalDataset(referenced, name=referenced.name, limit=limit),
        state=state,
        earlier=earlier,
        referenced=referenced,
    )


def has_own_photos(path: Path) -> bool:
    """Return whether a path has photos for agreement but no annotations."""
    if not path.is_dir():
        return False
    if (path / CACHE_FILE).is_file() or mask_files(path):
        return True
    return not any(path.glob("*.json")) and any(photo.suffix.lower() in PHOTO_SUFFIXES for photo in path.iterdir())


def data_name(path: Path) -> str:
    """Return the data set's name in results: that of the folder, or of the json if it is descriptive."""
    path = path.resolve()
    return path.stem if path.is_file() and path.stem not in COMMON_NAMES else (path.parent if path.is_file() else path).name


def part_of(world: World) -> str | None:
    """Return the name of a process's own files; None for a single process."""
    return f"rank-{world.rank}-of-{world.world_size}" if world.world_size > 1 else None
