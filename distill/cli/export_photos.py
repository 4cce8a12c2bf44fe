"""The photos that an export is certified on."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from distill.jobs.sample_data import resolve_data
from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.samples.sample import Sample
from eval_zeroshot import open_dataset
from shards import open_source

PHOTOS = "sample:val"
NUM_PHOTOS = 20
ANNOTATIONS = "instances.json"  # makes a folder a data set
PhotosOption = Annotated[
    str, typer.Option(help="Photos to compare on: a folder of photos, a COCO json, or sample:val.")
]
ImagesOption = Annotated[Path | None, typer.Option(help="Folder of a json's photos (default: images/ beside the json).")]
NumPhotosOption = Annotated[int, typer.Option(help="Use at most this many photos, the first ones.", min=1)]


def first_photos(
    photos: str, *, limit: int, images: Path | None = None, wanted: Callable[[Shape], bool] | None = None
) -> Sequence[Sample]:
    """Return the first photos of a folder or data set, with their annotated objects.

    Args:
        limit: how many at most.
        images: folder of a json's photos.
        wanted: (height, width) of a photo -> whether to take it; None takes all.

    Raises:
        InputError: there are none, or one cannot be read.
    """
    found = (sample for sample in iterate_photos(photos, images=images) if wanted is None or wanted(sample.shape))
    taken = list(islice(found, limit))
    if not taken:
        raise InputError(f"none of the photos of {photos} {'fits' if wanted else 'can be used'}; give others with --photos")
    return taken


def named_photos(photos: str, *, keys: set[str], images: Path | None = None) -> Sequence[Sample]:
    """Return the photos of a folder or data set with one of `keys`; reading stops when all are found.

    Raises:
        InputError: there are no photos, or one cannot be read.
    """
    missing, found = set(keys), []
    for sample in iterate_photos(photos, images=images):
        if sample.key in missing:
            missing.remove(sample.key)
            found.append(sample)
        if not missing:
            break
    return found


def iterate_photos(photos: str, *, images: Path | None = None) -> Iterator[Sample]:
    """Yield the photos of a folder or data set.

    Raises:
        InputError: there are none, or one cannot be read.
    """
    path = Path(photos)
    if path.is_dir() and not (path / ANNOTATIONS).is_file() and images is None:
        source = open_source(photos, masks=False)
        return (Sample(key=item.key, image=source.photo(item).image) for item in source.items())
    return iter(open_dataset(resolve_data(photos), images=images))
