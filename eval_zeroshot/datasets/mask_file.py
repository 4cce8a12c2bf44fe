"""Masks that data sets ship as image files: on or off, or the number of an object at each pixel."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import label

from encoders.errors import InputError
from encoders.files import read_bounded
from encoders.geometry import Shape
from encoders.samples.image import MAX_PIXELS
from encoders.samples.whole_image import check_whole

FORMATS = ("PNG", "BMP", "TIFF")  # lossless ones: a JPEG has no sharp values
MAX_MASK_BYTES = 2**28
EIGHT_NEIGHBOURS = np.ones((3, 3), int)


def read_mask(path: Path | str, *, shape: Shape) -> np.ndarray:
    """An on-or-off mask -> (H, W) bool.

    Whether on is 255, 1 or a palette's colour is told from the file: in grey from 128 up, or 1 where nothing is above 1; in a
    palette every entry but the first.

    Args:
        path: of a PNG, BMP or TIFF.
        shape: (height, width) of the photo that it belongs to.

    Raises:
        InputError: missing, no image, damaged or cut off, of another size than the photo, or of greys that are neither.
    """
    mode, values = _read(path, shape=shape)
    if mode in ("1", "P"):
        return values > 0
    highest = int(values.max(initial=0))
    if 1 < highest < 128:
        raise InputError(f"{path}: the highest grey is {highest}; expected a mask of 0 and 255, or of 0 and 1")
    return values > (0 if highest == 1 else 127)


def read_labels(path: Path | str, *, shape: Shape) -> np.ndarray:
    """A mask whose pixels hold numbers of objects, by palette or as plain greys -> (H, W) uint8.

    Raises:
        InputError: missing, no image, damaged or cut off, of another size than the photo, or in colour, which holds no numbers.
    """
    mode, values = _read(path, shape=shape)
    if mode not in ("P", "L", "1"):
        raise InputError(f"{path} is in mode {mode}; expected an indexed PNG, whose palette index is the object's number")
    return values.astype(np.uint8)


def regions(mask: np.ndarray) -> list[np.ndarray]:
    """(H, W) bool -> its connected regions, (H, W) bool each, in row-major order of their first pixels; corners connect."""
    labels, count = label(mask, structure=EIGHT_NEIGHBOURS)
    return [labels == number for number in range(1, count + 1)]


def _read(path: Path | str, *, shape: Shape) -> tuple[str, np.ndarray]:
    """The file's mode and its (H, W) values; colour becomes grey."""
    data = read_bounded(Path(path), max_bytes=MAX_MASK_BYTES, name=str(path))
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{path}: {image.width} x {image.height} pixels; at most {MAX_PIXELS} are decoded")
            if (image.height, image.width) != tuple(shape):
                size = (image.height, image.width)
                raise InputError(f"{path} is {size}, its photo {tuple(shape)} (height, width); expected a mask of this photo")
            _check_whole(image, data, path=path)
            mode = image.mode
            values = np.array(image if mode in ("1", "P", "L") else image.convert("L"))
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no {', '.join(FORMATS)} file; expected a mask") from error
    except (InputError, MemoryError):
        raise
    except Exception as error:  # PIL raises whatever its parsers trip over, and an error of its own for too many pixels
        raise InputError(f"{path}: not a readable mask ({type(error).__name__}: {error})") from error
    if mode.startswith(("I", "F")):
        raise InputError(f"{path} has pixels of mode {mode}; expected 8 bits")
    return mode, values


def _check_whole(image: Image.Image, data: bytes, *, path: Path | str) -> None:
    try:
        check_whole(image, data)
    except InputError as error:
        raise InputError(f"{path}: not a readable mask ({error})") from error
