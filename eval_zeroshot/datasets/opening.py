"""Data sets for evaluation: a name and samples, read one photo at a time, in a fixed order; what is there decides which."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from encoders.errors import InputError
from encoders.messages.words import counted
from encoders.samples.coco import CocoDataset, file_name, is_lvis_image, url_place
from encoders.samples.sample import Sample
from eval_zeroshot.datasets import bsds, davis, duts, mvtec, seginw, uvo

HOW_TO_GET = (
    "COCO: https://cocodataset.org/#download, val2017.zip and annotations_trainval2017.zip, then give "
    "annotations/instances_val2017.json and the folder of photos"
)
HOW_TO_GET_LVIS = (
    "LVIS has no photos of its own: they are COCO's of 2017, those of its val from both train2017 and val2017. Unpack "
    "train2017.zip and val2017.zip of https://cocodataset.org/#download and name the folder that holds both"
)
COMMON_NAMES = ("instances", "annotations")  # names of files that say nothing of the data set


class Photos(Protocol):
    """Samples by number, in a fixed order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class EvalDataset:
    """The first `limit` photos of a data set, in its own order.

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

    def blocks(self) -> list[range]:
        """Numbers of samples that one process must see, in order: each photo alone, the frames of a video together."""
        whole = getattr(self._photos, "blocks", None)
        blocks = [range(index, index + 1) for index in range(len(self._photos))] if whole is None else whole()
        cut = [range(block.start, min(block.stop, self._count)) for block in blocks]
        return [block for block in cut if block]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a user may say besides the path.

    Attributes:
        images: folder of the photos, of data sets in a json.
        split: of data sets with several; None is the usual one.
        present_only: use only the photos that are there, of COCO's format.
    """

    images: Path | str | None = None
    split: str | None = None
    present_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Opener:
    """One kind of data set.

    Attributes:
        name: of the kind; no two have one.
        hints: parts of a path's name, in small letters, that tell what was meant where nothing is there.
        how_to_get: where the data set is to be had and what layout is expected.
        find: the path where this kind lies at or in a given one; None where there is none.
        open: the data set at a found path, and what results call it.
        splits: that it has; None where the reader itself says which.
    """

    name: str
    hints: tuple[str, ...]
    how_to_get: str
    find: Callable[[Path], Path | None]
    open: Callable[[Path, Choice], tuple[Photos, str]]
    splits: tuple[str, ...] | None = ()


def _open_bsds(root: Path, choice: Choice) -> tuple[Photos, str]:
    split = choice.split or "test"
    whole = (root / "images" / split).is_dir()  # some photos without splits are not the data set
    return bsds.BsdsDataset(root, split=split), f"BSDS500 {split}" if whole else root.resolve().name


def _open_duts(root: Path, choice: Choice) -> tuple[Photos, str]:
    photos = duts.DutsDataset(root, split=choice.split or "test")
    return photos, photos.part


def _open_mvtec(root: Path, choice: Choice) -> tuple[Photos, str]:
    photos = mvtec.MvtecDataset(root)
    return photos, photos.name


def _open_davis(root: Path, choice: Choice) -> tuple[Photos, str]:
    split = choice.split or "val"
    return davis.DavisDataset(root, split=split), f"DAVIS 2017 {split}"


def _open_seginw(root: Path, choice: Choice) -> tuple[Photos, str]:
    photos = seginw.SegInWDataset(root)
    return photos, photos.name


def _open_videos(path: Path, choice: Choice) -> tuple[Photos, str]:
    return uvo.VideoJsonDataset(path, images=choice.images), path.stem


def _open_coco(given: Path, choice: Choice) -> tuple[Photos, str]:
    path = find_annotations(given)
    coco = CocoDataset(path, images=choice.images, present_only=choice.present_only)
    missing = [record for record in coco.records if not coco.photo_path(record).is_file()]
    if missing:
        lvis = is_lvis_image(missing[0])
        first = url_place(missing[0]) if lvis else file_name(missing[0])
        raise InputError(
            f"{coco.images} lacks {len(missing)} of {counted(len(coco), 'photo')} of {coco.path}, {first} first; name the "
            "folder that holds them (--images, images=), or use only those present (--present-only, present_only=True). "
            f"{HOW_TO_GET_LVIS if lvis else HOW_TO_GET}"
        )
    common = path.stem in COMMON_NAMES and path.resolve().parent.name
    return coco, common or path.stem


def _anything(path: Path) -> Path | None:
    return path if path.exists() else None


# In the order of asking; COCO is the last, as it takes any folder with a json.
OPENERS = [
    Opener(name="bsds", hints=("bsds",), how_to_get=bsds.HOW_TO_GET, find=bsds.find_bsds, open=_open_bsds, splits=bsds.SPLITS),
    Opener(name="duts", hints=("duts",), how_to_get=duts.HOW_TO_GET, find=duts.find_duts, open=_open_duts, splits=None),
    Opener(name="mvtec", hints=("mvtec",), how_to_get=mvtec.HOW_TO_GET, find=mvtec.find_mvtec, open=_open_mvtec),
    Opener(name="davis", hints=("davis",), how_to_get=davis.HOW_TO_GET, find=davis.find_davis, open=_open_davis, splits=None),
    Opener(name="seginw", hints=("seginw",), how_to_get=seginw.HOW_TO_GET, find=seginw.find_seginw, open=_open_seginw),
    Opener(name="uvo", hints=("uvo", "ytvis"), how_to_get=uvo.HOW_TO_GET, find=uvo.find_videos, open=_open_videos),
    Opener(name="coco", hints=("coco", "lvis", "instances"), how_to_get=HOW_TO_GET, find=_anything, open=_open_coco),
]


def register_dataset(opener: Opener) -> None:
    """Make a kind of data set known; it is asked for before those that are known already.

    Raises:
        InputError: there is a kind of this name.
    """
    if any(opener.name == known.name for known in OPENERS):
        raise InputError(f"there is a kind of data set called {opener.name} already; give yours another name")
    OPENERS.insert(0, opener)


def open_dataset(
    annotations: Path | str,
    *,
    images: Path | str | None = None,
    split: str | None = None,
    limit: int | None = None,
    name: str | None = None,
    present_only: bool = False,
) -> EvalDataset:
    """Open a data set in its official layout: what is there decides which one it is.

    Args:
        annotations: a COCO-format json, or a folder that holds one as `instances.json` or as its only json; a json of videos
            (UVO, YouTube-VIS); or the folder of BSDS500, DUTS, MVTec AD, DAVIS 2017 or SegInW as unpacked.
        images: folder of a json's photos; `images/` beside it when None, for videos also where the data set has them.
        split: of BSDS500 and DUTS "test" when None, of DAVIS "val"; the others have one.
        limit: use only the first photos.
        name: name in results; when None the json's, or its folder's where the json is just `instances.json`, or the data set's
            with its split.
        present_only: use only the COCO-format photos that are there; the name then says how many of how many.

    Raises:
        InputError: annotations or photos are missing; says where to get them. Or the limit is not positive, or there is no
            such split.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} leaves no photo; give a positive number")
    choice = Choice(images=images, split=split, present_only=present_only)
    for opener in OPENERS:
        found = opener.find(Path(annotations))
        if found is not None:
            if split is not None and opener.splits is not None and split not in opener.splits:
                expected = f"expected {' or '.join(opener.splits)}" if opener.splits else "it has no splits, so leave it out"
                raise InputError(f"{annotations} has no split {split!r}; {expected}")
            photos, usual = opener.open(found, choice)
            absent = getattr(photos, "absent", 0)
            part = f" ({len(photos)} of {counted(len(photos) + absent, 'photo')})" if absent else ""
            return EvalDataset(photos, name=(name or usual) + part, limit=limit)
    raise InputError(f"{annotations} does not exist; expected a data set.{_advice(annotations)}")


def has_splits(path: Path | str) -> bool:
    """Whether what lies there has splits to choose from."""
    opener = next((opener for opener in OPENERS if opener.find(Path(path)) is not None), None)
    return opener is not None and opener.splits != ()


def how_to_get(path: Path | str) -> str:
    """Where to get what a path's last name tells was meant; of every data set where it tells nothing."""
    name = Path(path).name.lower()
    meant = [opener for opener in OPENERS if any(hint in name for hint in opener.hints)] or OPENERS
    return "\n".join(f"- {opener.how_to_get}" for opener in meant) if len(meant) != 1 else meant[0].how_to_get


def _advice(path: Path | str) -> str:
    advice = how_to_get(path)
    return ("\n" if "\n" in advice else " ") + advice


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
        problem = f"{path} is a folder with {counted(len(found), 'json file')} and no instances.json"
        if found:
            raise InputError(f"{problem}; name the annotations file itself")
        raise InputError(f"{problem}, and in no layout that is known.{_advice(path)}")
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a COCO-format json of instances.{_advice(path)}")
    return path
