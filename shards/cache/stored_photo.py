"""Conversion of photos to their stored form: the resized JPEG that both teacher and student decode, and its metadata."""

import io
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from encoders.errors import InputError
from encoders.geometry import resize_fast, resize_image, resized_shape
from encoders.samples.image import decode_image
from shards.cache.files import to_line
from shards.sources.base import Item, Photo, Source
from shards.stores.base import StoreFailure

JPEG_QUALITY = 95
SUBSAMPLING_444 = 0  # PIL's number for 4:4:4: colour at full resolution
Decode = Literal["exact", "near", "fast"]
DECODE_MARK = "+"  # between the version of the preprocessing and a way of decoding that is not exact


@dataclass(frozen=True, kw_only=True)
class StoredPhoto:
    """The content of `KEY.jpg` and `KEY.json`, and the pixels that the teacher sees.

    Attributes:
        where: name of the photo in messages, see `Item`.
        jpeg: the resized photo.
        pixels: (h, w, 3) uint8 RGB, decoded from `jpeg`; long side S.
        facts: `KEY.json`, see `store_photo`.
    """

    key: str
    where: str
    jpeg: bytes
    pixels: np.ndarray
    facts: dict[str, Any]

    @property
    def json(self) -> bytes:
        return to_line(self.facts)


@dataclass(frozen=True, kw_only=True)
class BadSample:
    """A photo left out of the cache, with the reason."""

    key: str
    where: str
    reason: str


def decode_mark(decode: Decode) -> str:
    """Return the suffix of a cache's preprocessing version: empty for "exact", "+near", or "+fast"."""
    return "" if decode == "exact" else f"{DECODE_MARK}{decode}"


def decode_of(preprocess_version: str) -> Decode:
    """Return how the photos of a cache of this preprocessing version are decoded and resized."""
    marks = preprocess_version.split(DECODE_MARK)[1:]  # the others are precisions
    return next((decode for decode in get_args(Decode) if decode in marks), "exact")


def store_photo(photo: Photo, *, where: str, image_size: int, decode: Decode = "exact") -> StoredPhoto:
    """Resize as SAM does, encode as JPEG and decode again: the teacher sees the JPEG's pixels, not the original ones.

    "near" resizes by `encoders.geometry.resize_fast`, whose pixels are nearly those of "exact"; "fast" does so too, from an
    image that may be smaller than the photo, see `Source.photo`, which makes the result a little softer.

    The facts are `key`, `height` and `width` of the original, `stored_height` and `stored_width`, `meta`, and
    `annotations` (COCO instances in pixels of the original; see `shards.sources.annotations`).
    """
    height, width = photo.shape
    resized = resize_photo(photo, image_size=image_size, decode=decode)
    jpeg = encode_jpeg(resized)
    facts = {
        "key": photo.key,
        "height": height,
        "width": width,
        "stored_height": resized.shape[0],
        "stored_width": resized.shape[1],
        "meta": photo.meta,
        "annotations": photo.annotations,
    }
    return StoredPhoto(key=photo.key, where=where, jpeg=jpeg, pixels=decode_image(jpeg, name=photo.key), facts=facts)


def resize_photo(photo: Photo, *, image_size: int, decode: Decode) -> np.ndarray:
    """Return the photo's pixels with the longer side `image_size`, (h, w, 3) uint8."""
    if decode != "exact":
        return resize_fast(photo.image, shape=resized_shape(photo.shape, image_size=image_size))
    return resize_image(photo.image, image_size=image_size)


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """(h, w, 3) uint8 RGB -> `KEY.jpg`. By Pillow: simplejpeg gives other bytes in the same time."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=SUBSAMPLING_444)
    return buffer.getvalue()


def store_item(source: Source, item: Item, *, image_size: int, decode: Decode = "exact") -> StoredPhoto | BadSample:
    """Read one item and convert it to its stored form; an unusable item is returned as a BadSample, not raised.

    Raises:
        StoreFailure: of a source in an object store that does not answer.
    """
    try:
        photo = source.photo(item, long_side=image_size if decode == "fast" else None)
        return store_photo(photo, where=item.where, image_size=image_size, decode=decode)
    except StoreFailure:  # says nothing about the photo
        raise
    except InputError as error:
        return BadSample(key=item.key, where=item.where, reason=str(error))
