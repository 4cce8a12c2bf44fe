"""DAVIS 2017, videos with a numbered mask for each object in each frame, as samples. Source: Pont-Tuset et al., 1704.00675."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoders.errors import InputError
from encoders.files import read_bounded
from encoders.geometry import Shape
from encoders.messages.words import counted
from encoders.samples.image import read_image
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.frames import frame_sample, video_blocks
from eval_zeroshot.datasets.mask_file import read_labels
from eval_zeroshot.datasets.missing import check_missing

VOID = 255  # belongs to nothing; the official semi-supervised evaluation takes it for background
RESOLUTION = "480p"
MAX_LISTING = 2**20  # bytes of a split's list
HOW_TO_GET = (
    "DAVIS 2017: unpack DAVIS-2017-trainval-480p.zip of https://davischallenge.org/davis2017/code.html and give its folder "
    "DAVIS, which holds JPEGImages/480p/SEQUENCE/00000.jpg, Annotations/480p/SEQUENCE/00000.png and ImageSets/2017/val.txt"
)


class DavisDataset:
    """The frames of one split, sequence after sequence. The objects are those of a sequence's first frame.

    Args:
        folder: DAVIS as unpacked, or the folder that holds it.
        split: "val" or "train".

    Raises:
        InputError: no such folders or split, or frames without photo or mask.
    """

    def __init__(self, folder: Path | str, *, split: str = "val") -> None:
        root = find_davis(folder)
        if root is None:
            raise InputError(f"{folder} has no JPEGImages/{RESOLUTION} and Annotations/{RESOLUTION}. {HOW_TO_GET}")
        listing = root / "ImageSets" / "2017" / f"{split}.txt"
        if not listing.is_file():
            there = ", ".join(sorted(path.stem for path in listing.parent.glob("*.txt"))) or "none"
            raise InputError(f"{listing} does not exist; splits there: {there}. {HOW_TO_GET}")
        self.folder = root
        self.sequences: dict[str, list[Path]] = {}
        for name in _names(listing):
            photos = sorted((root / "JPEGImages" / RESOLUTION / name).glob("*.jpg"))
            missing = [photo.stem for photo in photos if not self._mask_path(photo).is_file()]
            check_missing(
                missing,
                of=len(photos),
                unit="frame",
                lack="without a mask",
                none="no *.jpg",
                where=f"DAVIS sequence {name}",
                how_to_get=f"Test splits have no public masks. {HOW_TO_GET}",
            )
            frames = {photo.stem for photo in photos}
            strays = sorted(mask.name for mask in self._mask_path(photos[0]).parent.glob("*.png") if mask.stem not in frames)
            if strays:
                count = counted(len(strays), "mask")
                raise InputError(f"DAVIS sequence {name}: {count} without a frame, {strays[0]} first. {HOW_TO_GET}")
            self.sequences[name] = photos
        self._frames = [(name, frame) for name, photos in self.sequences.items() for frame in range(len(photos))]
        self._objects: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def blocks(self) -> list[range]:
        """Numbers of the frames of each video."""
        return video_blocks(self._frames)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read frame `index`, sequences in the order of the split's list."""
        sequence, frame = self._frames[index]
        photo = self.sequences[sequence][frame]
        image = read_image(photo)
        shape = (image.shape[0], image.shape[1])
        labels, objects = self._labels(photo, shape=shape), self.objects(sequence, shape=shape)
        return frame_sample(
            image,
            masks={number: labels == number for number in objects},
            given=objects if frame == 0 else [],
            sequence=sequence,
            frame=frame,
            frames=len(self.sequences[sequence]),
            source="DAVIS 2017",
            file_name=f"{sequence}/{photo.name}",
        )

    def objects(self, sequence: str, *, shape: Shape) -> list[int]:
        """Numbers of a sequence's objects: 1 to the highest in its first frame, as the official evaluation counts.

        Raises:
            InputError: there is none.
        """
        if sequence not in self._objects:
            first = self.sequences[sequence][0]
            count = int(self._labels(first, shape=shape).max())
            if count == 0:
                raise InputError(
                    f"{self._mask_path(first)} has no object, only background and {VOID}, which is void in DAVIS 2017 (in "
                    f"DAVIS 2016 it is the object). {HOW_TO_GET}"
                )
            self._objects[sequence] = list(range(1, count + 1))
        return self._objects[sequence]

    def _labels(self, photo: Path, *, shape: Shape) -> np.ndarray:
        labels = read_labels(self._mask_path(photo), shape=shape)
        return np.where(labels == VOID, 0, labels)

    def _mask_path(self, photo: Path) -> Path:
        return self.folder / "Annotations" / RESOLUTION / photo.parent.name / f"{photo.stem}.png"


def _names(listing: Path) -> list[str]:
    """The sequences of a split, one a line."""
    try:
        return read_bounded(listing, max_bytes=MAX_LISTING, name=str(listing)).decode().split()
    except UnicodeDecodeError as error:
        raise InputError(f"{listing} is no text; expected the name of a sequence in each line. {HOW_TO_GET}") from error


def find_davis(folder: Path | str) -> Path | None:
    """The folder that holds DAVIS's `JPEGImages` and `Annotations`: `folder` itself or `DAVIS` in it."""
    kinds = ("JPEGImages", "Annotations")
    places = (Path(folder), Path(folder) / "DAVIS")
    return next((place for place in places if all((place / kind / RESOLUTION).is_dir() for kind in kinds)), None)
