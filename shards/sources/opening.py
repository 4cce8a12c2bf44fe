"""Opening a photo source from a user's specification: a folder of photos, SA-1B tars, or a COCO json with its photos."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from shards.sources.base import PHOTO_SUFFIXES, Source, printable
from shards.sources.coco import CocoSource
from shards.sources.folder import FolderSource
from shards.sources.remote import RemoteFolderSource, find_all_remote, find_remote
from shards.sources.selection import Selection, Subset, read_names
from shards.sources.tar_index import Listing
from shards.sources.tars import TarSource
from shards.stores.retry import is_url


def open_source(
    spec: str | Path | Sequence[str | Path],
    *,
    annotations: Path | str | None = None,
    images: Path | str | None = None,
    masks: bool = True,
    subset: str | None = None,
    names: Path | str | None = None,
    listing: Listing | None = None,
) -> Source:
    """Open a source of photos.

    Args:
        spec: a folder of photos; an SA-1B tar, a folder of them, a glob, a list of tars and globs, or a text file
            `*.txt` of tars and globs, one a line, relative to the file's folder; or a COCO json. Tars, their globs and
            folders may be URLs of an object store.
        annotations: a COCO json of instances for the photos in the folder `spec`.
        images: folder of the photos of a COCO json; `images/` beside it when None.
        masks: if False, annotations are neither required nor read.
        subset: a share of the photos by their keys, e.g. "1%@seed=0"; see `shards.sources.selection.Subset`.
        names: a text file of keys or file names, one a line: only these photos.
        listing: how to list tars; ignored for other sources.

    Raises:
        InputError: the source is missing or empty, a name is unknown, or the choice is ambiguous; says what was looked for.
    """
    tars = {"masks": masks, "listing": listing}
    try:
        source = _open_whole(spec, annotations=annotations, images=images, tars=tars)
    except OSError as error:
        raise InputError(f"{spec} cannot be opened ({error.strerror}); expected a source of photos") from error
    if subset is None and names is None:
        return source
    return Selection(
        source,
        subset=None if subset is None else Subset.parse(subset),
        names=None if names is None else read_names(names),
        label=printable(Path(names).name) if names is not None else "",
    )


def _open_whole(
    spec: str | Path | Sequence[str | Path],
    *,
    annotations: Path | str | None,
    images: Path | str | None,
    tars: dict[str, Any],
) -> Source:
    """Open the whole source, before any selection; `tars` are keyword arguments for `TarSource`."""
    masks = tars["masks"]
    if annotations is not None:
        if images is not None and Path(images) != Path(str(spec)):
            raise InputError(f"both {spec} and {images} are given as the folder of photos; give one")
        return CocoSource(annotations, images=Path(str(spec)), masks=masks)
    specs = [spec] if isinstance(spec, (str, Path)) else list(spec)
    if any(is_url(part) for part in specs):
        return _open_remote([str(part) for part in specs], images=images, tars=tars)
    if not isinstance(spec, (str, Path)):
        return TarSource(_expand([str(part) for part in spec]), **tars)
    path = Path(spec)
    if path.suffix.lower() == ".json":
        return CocoSource(path, images=images, masks=masks)
    if images is not None:
        raise InputError(f"images={images} belongs to a COCO json, but the source is {spec}; expected a .json")
    if path.is_dir():
        return _open_folder(path, tars)
    if path.suffix.lower() == ".txt":
        return TarSource(_expand([str(path.parent / line) for line in read_names(path)]), **tars)
    if path.suffix.lower() == ".tar" or glob.has_magic(str(spec)):
        return TarSource(_expand([str(spec)]), **tars)
    what = "is a single file" if path.is_file() else "is no regular file" if path.exists() else "does not exist"
    raise InputError(
        f"{spec} {what}; expected a folder of photos, SA-1B tars (file, folder, glob or a .txt that lists them) or a COCO .json"
    )


def _open_remote(specs: Sequence[str], *, images: Path | str | None, tars: dict[str, Any]) -> Source:
    """Open tars or photos at URLs."""
    if images is not None or any(spec.lower().endswith((".json", ".txt")) for spec in specs):
        raise InputError(f"{specs[0]}: a COCO json or a list of tars is read from this machine only; copy it here")
    if wrong := [spec for spec in specs if not is_url(spec)]:
        raise InputError(f"{wrong[0]} is a path among URLs; expected all tars in object stores, or all on this machine")
    if len(specs) > 1:
        return TarSource(find_all_remote(specs), **tars)
    found = find_remote(specs[0])
    return TarSource(found, **tars) if isinstance(found, list) else RemoteFolderSource(found)


def _open_folder(folder: Path, options: dict[str, Any]) -> Source:
    tars = sorted(folder.glob("*.tar"))
    if not tars:
        return FolderSource(folder)
    photos = [path.name for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES]
    if photos:
        raise InputError(
            f"{folder} holds {len(tars)} tars and {len(photos)} photos; name the tars with a glob ({folder}/*.tar)"
            " or move the photos to a folder of their own"
        )
    return TarSource(tars, **options)


def _expand(parts: Sequence[str]) -> list[Path]:
    """Return the paths of all tars that the parts name, without repetition."""
    found: dict[Path, None] = {}
    for part in parts:
        matches = sorted(glob.glob(part)) if glob.has_magic(part) and not Path(part).exists() else [part]
        if not matches:
            raise InputError(f"{part} matches no file; expected SA-1B tars")
        found.update((Path(match), None) for match in matches)
    if not found:
        raise InputError("the list of tars is empty")
    wrong = [str(path) for path in found if path.suffix.lower() != ".tar"]
    if wrong:
        raise InputError(f"{wrong[0]} is no .tar; a list or glob must name SA-1B tars only")
    return list(found)
