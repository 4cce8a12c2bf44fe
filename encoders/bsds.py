"""BSDS500 photos with their human segmentations, as samples. Source: BIDS/BSDS500, `groundTruth/*.mat`."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from encoders.errors import InputError
from encoders.geometry import mask_box
from encoders.image import read_image
from encoders.sample import Sample

# What scipy raises for a .mat file that is cut off, holds something else, or is none.
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, MatReadError, zlib.error)


class BsdsDataset:
    """One split of BSDS500: every region of every annotator is a mask, so masks overlap and nest.

    Args:
        folder: BSDS500's `data` folder, which holds `images/SPLIT/*.jpg` and `groundTruth/SPLIT/*.mat`.
        split: "train", "val" or "test".

    Raises:
        InputError: the folder does not have that layout.
    """

    def __init__(self, folder: Path | str, *, split: str = "train") -> None:
        self.folder = Path(folder)
        self.split = split
        self.paths = sorted((self.folder / "images" / split).glob("*.jpg"))
        if not self.paths:
            wanted = "expected BSDS500's folder of images/ and groundTruth/"
            raise InputError(f"{self.folder} has no images/{split}/*.jpg; {wanted}")

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read photo `index` in order of name."""
        path = self.paths[index]
        masks = [
            segmentation == label
            for segmentation in self.segmentations(path.stem)
            for label in np.unique(segmentation)
        ]
        return Sample(
            key=path.stem,
            image=read_image(path),
            boxes=[mask_box(mask) for mask in masks],
            masks=masks,
            meta={"source": "BSDS500", "file_name": path.name},
        )

    def segmentations(self, stem: str) -> list[np.ndarray]:
        """Region labels of each annotator, (H, W) uint16.

        Raises:
            InputError: the file is missing, damaged or no BSDS500 ground truth.
        """
        path = self.folder / "groundTruth" / self.split / f"{stem}.mat"
        if not path.is_file():
            raise InputError(f"{path} does not exist; expected the human segmentations of {stem}.jpg")
        try:
            cells = scipy.io.loadmat(str(path))["groundTruth"]
            return [cell["Segmentation"][0, 0] for cell in cells[0]]
        except _UNREADABLE as error:
            raise InputError(f"{path} holds no BSDS500 ground truth ({type(error).__name__}: {error})") from error
