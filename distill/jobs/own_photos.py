"""Photos without annotations to measure agreement on: a folder, a cache of teacher embeddings, or what `masks` has written."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError, InputWarning
from encoders.geometry import resize_image
from encoders.samples.sample import image_sha256
from encoders.untrusted import read_json
from eval_zeroshot.predictors.reference import OwnPhoto, OwnPhotos
from eval_zeroshot.predictors.reference_masks import PointsAndBoxes
from shards import Item, Manifest, ShardReader, Source, open_source
from shards.cache.identity import CACHE_FILE
from shards.sources.base import MAX_JSON_BYTES

LONGEST_SIDE = 1024  # pixels: what SAM sees; a phone's 12 megapixels would take 15 times as long, for the same question


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The model that made the embeddings or masks stored with the photos.

    Attributes:
        model: a name or path, as the maker was given it.
        sha256: of its weights.
        image_size: S in pixels.
        embeddings: whether it made embeddings, so that no other model can be the reference.
    """

    model: str
    sha256: str
    image_size: int
    embeddings: bool


class FolderPhotos:
    """Photos of a folder, of SA-1B tars or of a COCO json; annotations are ignored.

    Photos that cannot be used by the listing alone are named in a warning and left out; one that cannot be read is an error.
    """

    given_prompts = False

    def __init__(self, source: Source) -> None:
        self._source = source
        self._items = usable(source)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> OwnPhoto:
        item = self._items[index]
        return OwnPhoto(key=item.key, image=shrunk(read_photo(self._source, item)))


class CachedPhotos:
    """Photos of a cache with the embeddings of its teacher."""

    given_prompts = False

    def __init__(self, manifest: Manifest) -> None:
        manifest.check_keys()
        manifest.check_files()
        self._entries, self._reader = manifest.entries, ShardReader(manifest)
        self._image_size = manifest.identity.image_size
        self._ends = list(accumulate(len(entry.keys) for entry in manifest.entries))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> OwnPhoto:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        first = self._ends[shard] - len(self._entries[shard].keys)
        stored = self._reader.read(shard, index - first)
        pixels = stored.pixels()
        stored.coded(shape=(pixels.shape[0], pixels.shape[1]), image_size=self._image_size)  # that both are of one photo
        return OwnPhoto(key=stored.key, image=pixels, embedding=stored.embedding(image_size=self._image_size))


class _Mask(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    bbox: tuple[float, float, float, float]
    point_coords: list[tuple[float, float]] = Field(min_length=1)


class _Generator(BaseModel):
    arch: str
    weights_sha256: str
    image_size: int
    image_sha256: str | None = None


class _MaskFile(BaseModel):
    annotations: list[_Mask]
    generator: _Generator


class MaskedPhotos:
    """Photos with masks by `repvit-sam masks`, whose points and boxes are used as prompts.

    Args:
        files: one JSON a photo.
        source: the photos, as they were given to `masks`.

    Raises:
        InputError: a file has no photo.
    """

    given_prompts = True

    def __init__(self, files: Sequence[Path], *, source: Source) -> None:
        items = {item.key: item for item in usable(source)}
        if missing := [path for path in files if path.stem not in items]:
            raise InputError(
                f"{len(missing)} of {len(files)} files of masks have no photo in {source.name}, {missing[0]} first; give the "
                "photos that the masks were made of by --images"
            )
        self._files, self._source = files, source
        self._items = [items[path.stem] for path in files]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> OwnPhoto:
        path, item = self._files[index], self._items[index]
        made, image = read_masks(path), read_photo(self._source, item)
        if made.generator.image_sha256 not in (None, image_sha256(image)):
            raise InputError(f"{item.where} is not the photo that the masks in {path} were made of; make them again")
        small = shrunk(image)
        scale = np.asarray([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
        points = np.asarray([mask.point_coords[0] for mask in made.annotations], np.float64).reshape(-1, 2)
        boxes = np.asarray([mask.bbox for mask in made.annotations], np.float64).reshape(-1, 4)
        # SA-1B's boxes end with the last pixel, ours behind it
        corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] + 1])
        prompts = PointsAndBoxes(points=points * scale, boxes=corners * np.tile(scale, 2))
        return OwnPhoto(key=item.key, image=small, prompts=prompts)


def open_own_photos(data: Path, *, images: Path | None = None) -> tuple[OwnPhotos, Maker | None]:
    """Open photos without annotations; also return the model that made their embeddings or masks, if any.

    Args:
        data: a cache, a folder that `repvit-sam masks` has written, or photos: a folder, SA-1B tars, a COCO json.
        images: the photos of masks; of a COCO json, as in `open_source`.

    Raises:
        InputError: none of these is there, or it cannot be used.
    """
    if (data / CACHE_FILE).is_file():
        manifest = Manifest.read(data)
        made = manifest.identity
        maker = Maker(model=made.teacher, sha256=made.teacher_sha256, image_size=made.image_size, embeddings=True)
        return CachedPhotos(manifest), maker
    if files := mask_files(data):
        if images is None:
            raise InputError(f"{data} holds masks of {len(files)} photos; give the photos that they were made of by --images")
        by = read_masks(files[0]).generator
        maker = Maker(model=by.arch, sha256=by.weights_sha256, image_size=by.image_size, embeddings=False)
        return MaskedPhotos(files, source=open_source(str(images), masks=False)), maker
    return FolderPhotos(open_source(str(data), images=images, masks=False)), None


def mask_files(folder: Path) -> list[Path]:
    """Return the files in a folder written by `repvit-sam masks`, sorted; empty if its first json has another format."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        return []
    try:
        read_masks(files[0])
    except InputError:
        return []
    return files


def read_masks(path: Path) -> _MaskFile:
    """Read one photo's masks.

    Raises:
        InputError: the file is not of `repvit-sam masks`.
    """
    try:
        return _MaskFile.model_validate(read_json(path, max_bytes=MAX_JSON_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is not of repvit-sam masks ({where}: {first['msg']}); make it again") from error


def usable(source: Source) -> list[Item]:
    """Return a source's usable photos; those that the listing marks as unusable are named in a warning.

    Raises:
        InputError: none is left.
    """
    items = list(source.items())
    bad = [item for item in items if item.problem is not None]
    if len(bad) == len(items):
        raise InputError(f"{source.name} has no photo that can be used; {bad[0].where}: {bad[0].problem}")
    if bad:
        message = f"{len(bad)} of {len(items)} photos are left out, {bad[0].where} first: {bad[0].problem}"
        warnings.warn(message, InputWarning, stacklevel=3)
    return [item for item in items if item.problem is None]


def read_photo(source: Source, item: Item) -> np.ndarray:
    """(H, W, 3) uint8 RGB.

    Raises:
        InputError: it cannot be read; says how to go on.
    """
    try:
        return source.photo(item).image
    except InputError as error:
        raise InputError(f"{error}; remove it, and run the same command again, which continues") from error


def shrunk(image: np.ndarray) -> np.ndarray:
    """Shrink an image to a long side of at most `LONGEST_SIDE`."""
    return resize_image(image, image_size=LONGEST_SIDE) if max(image.shape[:2]) > LONGEST_SIDE else image
