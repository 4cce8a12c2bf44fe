"""DUTS, photos with a mask of what stands out, as samples. Source: Wang et al., CVPR 2017; folders as in its zip files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoders.errors import InputError
from encoders.geometry import mask_box
from encoders.samples.image import read_image
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.mask_file import read_mask
from eval_zeroshot.datasets.missing import check_missing

PARTS = {"test": "DUTS-TE", "train": "DUTS-TR"}
HOW_TO_GET = (
    "DUTS: unpack DUTS-TE.zip of http://saliencydetection.net/duts/ and give its folder DUTS-TE, which holds "
    "DUTS-TE-Image/*.jpg and DUTS-TE-Mask/*.png"
)


class DutsDataset:
    """One part of DUTS; each photo has one mask, of all that stands out in it together.

    Args:
        folder: DUTS-TE or DUTS-TR as unpacked, or the folder that holds both.
        split: "test" is DUTS-TE, "train" DUTS-TR.

    Raises:
        InputError: another split, no such folders, no photos, or photos without masks.
    """

    def __init__(self, folder: Path | str, *, split: str = "test") -> None:
        if split not in PARTS:
            raise InputError(f"DUTS has no split {split!r}; expected test (DUTS-TE) or train (DUTS-TR)")
        self.part = PARTS[split]
        root = find_duts(folder)
        parents = [] if root is None else [root, root / self.part]
        self.folder = next((parent for parent in parents if (parent / f"{self.part}-Image").is_dir()), None)
        if self.folder is None:
            raise InputError(f"{folder} has no {self.part}-Image. {HOW_TO_GET}")
        self.paths = sorted((self.folder / f"{self.part}-Image").glob("*.jpg"))
        missing = [path.name for path in self.paths if not self._mask_path(path).is_file()]
        check_missing(
            missing,
            of=len(self.paths),
            unit="photo",
            lack="without a mask",
            none="no *.jpg",
            where=self.folder / f"{self.part}-Image",
            how_to_get=HOW_TO_GET,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read photo `index` in order of name; nothing stands out where its mask is empty."""
        path = self.paths[index]
        image = read_image(path)
        mask = read_mask(self._mask_path(path), shape=(image.shape[0], image.shape[1]))
        return Sample(
            key=path.stem,
            image=image,
            boxes=[mask_box(mask) if mask.any() else np.zeros(4)],
            masks=[mask],
            meta={"source": self.part, "file_name": path.name},
        )

    def _mask_path(self, path: Path) -> Path:
        return path.parents[1] / f"{self.part}-Mask" / f"{path.stem}.png"


def find_duts(folder: Path | str) -> Path | None:
    """The folder itself if it is DUTS: a part, or what holds the parts."""
    folder = Path(folder)
    found = any((folder / place / f"{part}-Image").is_dir() for part in PARTS.values() for place in (".", part))
    return folder if found else None
