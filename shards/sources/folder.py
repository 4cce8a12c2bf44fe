"""A folder of photos as a source."""

import errno
import os
import stat
from pathlib import Path

from encoders.errors import InputError
from encoders.files import file_kind
from encoders.samples.image import read_shrunk
from shards.sources.base import PHOTO_SUFFIXES, Item, Photo, Source, printable, unique_keys


class FolderSource(Source):
    """All photos under a folder, sorted by their relative name; hidden files and folders are left out.

    Symlinks to photos are followed; symlinks to folders are not, to avoid cycles.

    Raises:
        InputError: the folder holds no photo, or a folder in it cannot be listed.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.name = f"folder:{printable(self.folder.resolve().name)}"
        if not self.items():
            raise InputError(f"{self.folder} holds no photo; expected files ending in {', '.join(PHOTO_SUFFIXES)}")

    def list_items(self) -> list[Item]:
        """List the photos; the key is the relative name without its suffix, made safe."""
        names = sorted(relative_photos(self.folder))
        items = []
        for key, name in zip(unique_keys(names), names, strict=True):
            size, problem = photo_size(self.folder / name)
            items.append(Item(key, printable(name), (name, size), problem))
        return items

    def item_bytes(self, item: Item) -> int:
        """Return the size of the photo's file in bytes."""
        return int(item.locator[1] or 0)

    def read_photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read one photo; it has no annotations."""
        name, _ = item.locator
        image, whole = read_shrunk(self.folder / name, name=item.where, long_side=long_side)
        return Photo(key=item.key, image=image, meta={"source": self.name, "file_name": item.where}, whole=whole)


def photo_size(path: Path) -> tuple[int | None, str | None]:
    """Return a photo's file size in bytes and why the file cannot be a photo, else None. Follows symlinks; opens nothing."""
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            return None, "a link that leads in a circle"
        if os.path.islink(path):
            return None, "a link that leads nowhere"
        return None, f"does not exist or cannot be opened ({getattr(error, 'strerror', error)})"
    if not stat.S_ISREG(facts.st_mode):
        return None, f"a {file_kind(facts.st_mode)}, not a file"
    return facts.st_size, None


def relative_photos(folder: Path) -> list[str]:
    """Return the relative names of all photo files under a folder, with forward slashes, unordered.

    Includes everything with a photo's suffix that is not a folder, also symlinks and pipes.

    Raises:
        InputError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed ({error.strerror}); photos in it would be left out unseen")

    found = []
    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith("."):
                found.append(Path(root, name).relative_to(folder).as_posix())
    return found
