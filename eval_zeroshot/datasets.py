"""Data sets for evaluation: a name and samples, read one photo at a time, in a fixed order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from encoders.bsds import HOW_TO_GET as HOW_TO_GET_BSDS
from encoders.bsds import BsdsDataset, find_bsds
from encoders.coco import CocoDataset, file_name
from encoders.errors import InputError
from encoders.sample import Sample

HOW_TO_GET = (
    "COCO: https://cocodataset.org/#download, val2017.zip and annotations_trainval2017.zip, then give "
    "annotations/instances_val2017.json and the folder of photos"
)
COMMON_NAMES = ("instances", "annotations")  # names of files that say nothing of the data set


class Photos(Protocol):
    """Samples by number, in a fixed order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class EvalDataset:
    """The first `limit` photos of a data set: by image id in COCO format, by name in BSDS500.

    Args:
        photos: the data set.
        name: what results call it; a limit is added to it, as a result on fewer photos is another result.
        limit: photos to use; None or more than there are uses all.
    """

    def __init__(self, photos: Photos, *, name: str, limit: int | None = None) -> None:
        self._photos = photos
        self._count = len(photos) if limit is None else min(limit, len(photos))
        self.name = name if self._count == len(photos) else f"{name}[:{self._count}]"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        return (self._photos[index] for index in range(self._count))

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._photos[index]


def open_dataset(
    annotations: Path | str,
    *,
    images: Path | str | None = None,
    split: str = "test",
    limit: int | None = None,
    name: str | None = None,
    present_only: bool = False,
) -> EvalDataset:
    """Open COCO-format annotations with their photos, or BSDS500: what is there decides.

    Args:
        annotations: a COCO-format json, or a folder that holds one as `instances.json` or as its only json; or the folder of
            BSDS500, as downloaded or with `images` and `groundTruth` directly in it.
        images: folder of COCO's photos; `images/` beside the json when None.
        split: of BSDS500.
        limit: use only the first photos.
        name: name in results; the json's, or its folder's where the json is just `instances.json`; "BSDS500 SPLIT".
        present_only: use only the COCO-format photos that are there; the name then says how many of how many.

    Raises:
        InputError: annotations or photos are missing; says where to get them. Or the limit is not positive.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} leaves no photo; give a positive number")
    if root := find_bsds(annotations):
        bsds = BsdsDataset(root, split=split)
        whole = (root / "images" / split).is_dir()  # some photos without splits are not the data set
        return EvalDataset(bsds, name=name or (f"BSDS500 {split}" if whole else root.resolve().name), limit=limit)
    path = find_annotations(Path(annotations))
    coco = CocoDataset(path, images=images, present_only=present_only)
    _check_photos(coco)
    common = path.stem in COMMON_NAMES and path.resolve().parent.name
    part = f" ({len(coco)} of {len(coco) + coco.absent} photos)" if coco.absent else ""
    return EvalDataset(coco, name=(name or common or path.stem) + part, limit=limit)


def find_annotations(path: Path) -> Path:
    """The annotations file that a path names: itself, or what its folder holds.

    Raises:
        InputError: there is none, or a folder has several and none is `instances.json`.
    """
    if path.is_dir():
        found = sorted(path.glob("*.json"))
        usual = path / "instances.json"
        if usual in found or len(found) == 1:
            return usual if usual in found else found[0]
        raise InputError(
            f"{path} is a folder with {len(found)} json files and no instances.json; name the annotations file itself"
        )
    if not path.is_file():
        wanted = "expected a COCO-format json of instances, or BSDS500"
        raise InputError(f"{path} does not exist; {wanted}. {HOW_TO_GET}. {HOW_TO_GET_BSDS}")
    return path


def _check_photos(coco: CocoDataset) -> None:
    missing = [file_name(record) for record in coco.records if not coco.photo_path(record).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(coco)} photos of {coco.path} are not in {coco.images}, {missing[0]} first; "
            f"name the folder that holds them, or choose to use only those present. {HOW_TO_GET}"
        )
