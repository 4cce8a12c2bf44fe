"""MVTec AD, photos of goods with and without a defect, as samples. Source: Bergmann et al., CVPR 2019; folders as unpacked."""

from collections.abc import Iterator
from pathlib import Path

from encoders.errors import InputError
from encoders.geometry import mask_box
from encoders.samples.image import read_image
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.mask_file import read_mask, regions
from eval_zeroshot.datasets.missing import check_missing

CATEGORIES = (
    "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw", "tile", "toothbrush",
    "transistor", "wood", "zipper",
)  # fmt: skip
GOOD = "good"  # the folder of photos without a defect, which have no mask
HOW_TO_GET = (
    "MVTec AD: unpack mvtec_anomaly_detection.tar.xz of https://www.mvtec.com/company/research/datasets/mvtec-ad and give its "
    "folder, which holds CATEGORY/test/DEFECT/*.png and CATEGORY/ground_truth/DEFECT/*_mask.png; or one category's folder"
)


class MvtecDataset:
    """The test photos; each connected region of a defect's mask is an object, a good photo has none.

    `meta["category"]` says what is shown, `meta["defect"]` what is wrong with it.

    Args:
        folder: MVTec AD as unpacked, or the folder of one category.

    Raises:
        InputError: no category there, or photos of a defect without masks.
    """

    def __init__(self, folder: Path | str) -> None:
        roots = _category_folders(Path(folder))
        if not roots:
            raise InputError(f"{folder} has no category with test and ground_truth. {HOW_TO_GET}")
        self.categories = [root.resolve().name for root in roots]
        self.paths = [path for root in roots for path in sorted(root.glob("test/*/*.png"))]
        masks = [_mask_path(path) for path in self.paths if path.parent.name != GOOD]
        check_missing(
            [mask for mask in masks if not mask.is_file()],
            of=len(self.paths),
            unit="photo",
            lack="without a mask",
            none="no test/*/*.png",
            where=folder,
            how_to_get=HOW_TO_GET,
        )

    @property
    def name(self) -> str:
        """What results call it: fewer categories are another data set."""
        whole = set(self.categories) == set(CATEGORIES)
        return "MVTec AD" if whole else f"MVTec AD {', '.join(self.categories)}"

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read photo `index` in order of category, defect and name."""
        path = self.paths[index]
        category, defect = path.parents[2].resolve().name, path.parent.name
        image = read_image(path)
        mask = None if defect == GOOD else read_mask(_mask_path(path), shape=(image.shape[0], image.shape[1]))
        masks = [] if mask is None else regions(mask)
        return Sample(
            key=f"{category}-{defect}-{path.stem}",
            image=image,
            boxes=[mask_box(region) for region in masks],
            masks=masks,
            meta={"source": "MVTec AD", "category": category, "defect": defect, "file_name": path.name},
        )


def category_of(key: str) -> str:
    """The category of a photo by its key; no category's name has a hyphen."""
    return key.partition("-")[0]


def find_mvtec(folder: Path | str) -> Path | None:
    """The folder itself if it holds categories or is one."""
    return Path(folder) if _category_folders(Path(folder)) else None


def _category_folders(folder: Path) -> list[Path]:
    def is_category(place: Path) -> bool:
        return (place / "test").is_dir() and (place / "ground_truth").is_dir()

    if is_category(folder):
        return [folder]
    return sorted(place for place in folder.glob("*") if is_category(place)) if folder.is_dir() else []


def _mask_path(photo: Path) -> Path:
    return photo.parents[2] / "ground_truth" / photo.parent.name / f"{photo.stem}_mask.png"
