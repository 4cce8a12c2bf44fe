"""A folder of photos as a source."""

import os
from pathlib import Path

from encoders.errors import InputError
from encoders.image import read_image
from shards.source import PHOTO_SUFFIXES, Item, Photo, Source, unique_keys


class FolderSource(Source):
    """All photos under a folder, sorted by their relative name; hidden files and folders are left out.

    Raises:
        InputError: the folder holds no photo.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.name = f"folder:{self.folder.resolve().name}"
        if not self.items():
            raise InputError(f"{self.folder} holds no photo; expected files ending in {', '.join(PHOTO_SUFFIXES)}")

    def list_items(self) -> list[Item]:
        """Key: the relative name without its suffix, made safe."""
        names = sorted(relative_photos(self.folder))
        keys = unique_keys(names)
        sizes = [(self.folder / name).stat().st_size for name in names]
        return [Item(key, name, (name, size)) for key, name, size in zip(keys, names, sizes, strict=True)]

    def read_photo(self, item: Item) -> Photo:
        """Read one photo; it has no annotations."""
        name, _ = item.locator
        return Photo(key=item.key, image=read_image(self.folder / name), meta={"source": self.name, "file_name": name})


def relative_photos(folder: Path) -> list[str]:
    """Names of all photo files under a folder, relative, with forward slashes, in no order."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(root, name)
            if name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith(".") and path.is_file():
                found.append(path.relative_to(folder).as_posix())
    return found
