"""BSDS500 photos with their human segmentations, as samples. Source: BIDS/BSDS500, `groundTruth/*.mat`."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from encoders.errors import InputError
from encoders.geometry import mask_box
from encoders.samples.image import read_image
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.missing import check_missing

# What scipy raises for a .mat file that is cut off, holds something else, or is none.
UNREADABLE = (OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, MatReadError, zlib.error)
SPLITS = ("train", "val", "test")
PLACES = (".", "data", "BSDS500/data", "BSR/BSDS500/data")  # of groundTruth/ in what one downloads and unpacks
HOW_TO_GET = (
    "BSDS500: unpack BSR_bsds500.tgz of https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html "
    "(or clone https://github.com/BIDS/BSDS500) and give its folder BSDS500"
)


class BsdsDataset:
    """One split of BSDS500: every region of every annotator is a mask, so masks overlap and nest.

    Args:
        folder: BSDS500 as downloaded, or its `data` folder, which holds `images/SPLIT/*.jpg` and `groundTruth/SPLIT/*.mat`.
        split: "train", "val" or "test"; without a folder of that name, all photos of a flat `images` folder.

    Raises:
        InputError: the folder does not have that layout.
    """

    def __init__(self, folder: Path | str, *, split: str = "train") -> None:
        self.folder = bsds_root(folder)
        self.split = split
        self.truths = _split_folder(self.folder / "groundTruth", split=split)
        self.paths = sorted(_split_folder(self.folder / "images", split=split).glob("*.jpg"))
        none = f"no images/{split}/*.jpg"
        check_missing([], of=len(self.paths), unit="photo", none=none, where=self.folder, how_to_get=HOW_TO_GET)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read photo `index` in order of name."""
        path = self.paths[index]
        cells = read_annotators(self.truths / f"{path.stem}.mat")
        segmentations = [cell["Segmentation"] for cell in cells]
        masks = [segmentation == label for segmentation in segmentations for label in np.unique(segmentation)]
        return Sample(
            key=path.stem,
            image=read_image(path),
            boxes=[mask_box(mask) for mask in masks],
            masks=masks,
            boundaries=[cell["Boundaries"] > 0 for cell in cells],
            meta={"source": "BSDS500", "file_name": path.name},
        )


def find_bsds(folder: Path | str) -> Path | None:
    """The folder that holds BSDS500's `groundTruth`: `folder` itself or where it is in the official download."""
    places = (Path(folder) / place for place in PLACES)
    return next((place for place in places if (place / "groundTruth").is_dir()), None)


def bsds_root(folder: Path | str) -> Path:
    """`find_bsds`, or an error.

    Raises:
        InputError: it is not there; says how to get the data set.
    """
    found = find_bsds(folder)
    if found is not None:
        return found
    what = "has no groundTruth folder" if Path(folder).is_dir() else "does not exist"
    raise InputError(f"{folder} {what}; expected BSDS500's folder of images/ and groundTruth/. {HOW_TO_GET}")


def truth_files(folder: Path | str, *, split: str) -> dict[str, Path]:
    """Name of each photo of a split -> its ground truth file, in order of name; photos are not needed.

    Raises:
        InputError: no such data set, or no ground truth of this split.
    """
    root = bsds_root(folder)
    paths = sorted(_split_folder(root / "groundTruth", split=split).glob("*.mat"))
    if not paths:
        raise InputError(f"{root} has no groundTruth/{split}/*.mat; expected train, val or test. {HOW_TO_GET}")
    return {path.stem: path for path in paths}


def read_annotators(path: Path) -> list[dict[str, Any]]:
    """Of each annotator `Segmentation`, (H, W) uint16 region labels, and `Boundaries`, (H, W) uint8.

    Raises:
        InputError: the file is missing, damaged or no BSDS500 ground truth.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected the human segmentations of {path.stem}.jpg")
    try:
        cells = scipy.io.loadmat(str(path))["groundTruth"]
        found = [{name: np.asarray(cell[name][0, 0]) for name in ("Segmentation", "Boundaries")} for cell in cells[0]]
        if strange := [maps for cell in found for maps in cell.values() if maps.ndim != 2 or maps.dtype.kind not in "buif"]:
            raise ValueError(f"a map of shape {strange[0].shape} and type {strange[0].dtype}, expected (height, width) numbers")
        return found
    except UNREADABLE as error:
        raise InputError(f"{path} holds no BSDS500 ground truth ({type(error).__name__}: {error})") from error


def _split_folder(folder: Path, *, split: str) -> Path:
    """`folder/split`, or `folder` itself where files lie there without splits, as in the benchmark's own example."""
    if split not in SPLITS:
        raise InputError(f"BSDS500 has no split {split!r}; expected {', '.join(SPLITS)}")
    named = folder / split
    flat = not named.is_dir() and any(path.suffix in (".jpg", ".mat") for path in folder.glob("*.*"))
    return folder if flat else named
