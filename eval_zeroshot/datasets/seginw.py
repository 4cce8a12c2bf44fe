"""SegInW, 25 small data sets of instances in Roboflow's layout, as samples. Source: Zou et al., 2212.11270 (X-Decoder)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from encoders.errors import InputError
from encoders.samples.coco import CocoDataset, file_name
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.missing import check_missing

DATA_SETS = (
    "Airplane-Parts", "Bottles", "Brain-Tumor", "Chicken", "Cows", "Electric-Shaver", "Elephants", "Fruits", "Garbage",
    "Ginger-Garlic", "Hand", "Hand-Metal", "House-Parts", "HouseHold-Items", "Nutterfly-Squireel", "Phones", "Poles", "Puppies",
    "Rail", "Salmon-Fillet", "Strawberry", "Tablets", "Toolkits", "Trash", "Watermelon",
)  # fmt: skip
SPLIT = "valid"  # the part with public annotations
ANNOTATIONS = ("_annotations_min1cat.coco.json", "_annotations.coco.json")  # HQ-SAM's evaluation reads the first
HOW_TO_GET = (
    "SegInW: unpack seginw.zip of https://huggingface.co/sam-hq-team/SegInW and give its folder seginw, which holds "
    f"NAME/{SPLIT}/{ANNOTATIONS[0]} (or {ANNOTATIONS[1]}) with the photos beside it, for up to {len(DATA_SETS)} NAMEs"
)


class SegInWDataset:
    """The photos of all data sets that are there, in order of their names; `meta["part"]` is the data set of a photo.

    Args:
        folder: SegInW as unpacked, or one of its data sets.

    Raises:
        InputError: no data set there, annotations that cannot be read, or photos that are missing.
    """

    def __init__(self, folder: Path | str) -> None:
        files = annotation_files(folder)
        if not files:
            raise InputError(f"{folder} has no NAME/{SPLIT}/{ANNOTATIONS[1]}. {HOW_TO_GET}")
        self.parts = {name: CocoDataset(path, images=path.parent) for name, path in files.items()}
        for name, part in self.parts.items():
            missing = [photo for photo in map(file_name, part.records) if not (part.images / photo).is_file()]
            where = f"SegInW, {name}, photos in {part.images}"
            check_missing(missing, of=len(part), unit="photo", where=where, how_to_get=HOW_TO_GET)
        self._photos = [(name, index) for name, part in self.parts.items() for index in range(len(part))]

    @property
    def name(self) -> str:
        """What results call it: fewer data sets are another data set."""
        return "SegInW" if set(self.parts) == set(DATA_SETS) else f"SegInW {', '.join(self.parts)}"

    def __len__(self) -> int:
        return len(self._photos)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read photo `index`: data sets by name, photos by image id."""
        part, number = self._photos[index]
        sample = self.parts[part][number]
        return replace(sample, key=photo_key(part, sample.meta["file_name"]), meta=sample.meta | {"part": part})


def photo_key(part: str, name: str) -> str:
    """The key of a photo: two data sets may have photos of one name, and Roboflow's names have dots."""
    return f"{part}+{Path(name).stem}".replace(".", "_")


def annotation_files(folder: Path | str) -> dict[str, Path]:
    """Name of each data set in a folder -> its annotations, in order of name; of one data set, its own."""
    folder = Path(folder)
    places = [folder] if (folder / SPLIT).is_dir() else sorted(folder.glob("*")) if folder.is_dir() else []
    found = {}
    for place in places:
        path = next((place / SPLIT / name for name in ANNOTATIONS if (place / SPLIT / name).is_file()), None)
        if path is not None:
            found[place.resolve().name] = path
    return found


def find_seginw(folder: Path | str) -> Path | None:
    """The folder itself if it holds data sets in this layout or is one."""
    return Path(folder) if annotation_files(folder) else None
