"""Decoding of image files to upright RGB arrays."""

import io
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageChops, UnidentifiedImageError

from encoders.errors import InputError
from encoders.files import read_bounded
from encoders.geometry import Shape, resized_shape
from encoders.samples.whole_image import check_whole

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # no other decoder ever sees a file (PIL's EPS starts Ghostscript)
MAX_PIXELS = 89_478_485  # where PIL begins to warn of a decompression bomb: about 1 GiB while it is decoded
MAX_PHOTO_BYTES = 1 << 29
ORIENTATION = 0x0112  # EXIF tag
TURNS = {  # EXIF orientation -> what brings the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


def decode_image(data: bytes, *, name: str) -> np.ndarray:
    """Encoded bytes -> (H, W, 3) uint8 RGB, turned upright by EXIF where its orientation can be read.

    Grey becomes three equal channels; of 16 bits the upper 8 are kept; transparent parts are laid on white; CMYK is
    converted without its colour profile, a JPEG's taken as inverted only where an Adobe marker says so. Of a camera's
    multi-picture file (MPO) it is the first picture.

    Args:
        data: a whole JPEG, PNG, WebP, BMP or TIFF file, whatever its name says.
        name: what to call it in an error.

    Raises:
        InputError: no image; a truncated or damaged one, as far as its decoder can tell, and one with less pixel data than
            it states, see `encoders.samples.whole_image`; an animated one; one of more than `MAX_PIXELS` pixels, refused before
            they are decoded; or one of floating-point or more than 16-bit pixels, whose range is unknown.
    """
    return decode_shrunk(data, name=name, long_side=None)[0]


def decode_shrunk(data: bytes, *, name: str, long_side: int | None) -> tuple[np.ndarray, Shape]:
    """Like `decode_image`; a JPEG at 1/2, 1/4 or 1/8 of its size if that is enough to be resized.

    Args:
        long_side: pixels that the longer side is to have in the end, see `resized_shape`; None for the whole image.

    Returns:
        The pixels, and the whole image's (height, width), upright.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, name)
            if image.format in ("JPEG", "MPO"):
                pixels = _from_jpeg(image, data, name, long_side)
                width, height = image.size
                return pixels, (width, height) if _turn(image) in SIDEWAYS else (height, width)
            _check_whole(image, data, name)
            image.load()
            pixels = np.array(_as_rgb(_upright(image), name))
            return pixels, (pixels.shape[0], pixels.shape[1])
    except InputError:
        raise
    except UnidentifiedImageError as error:  # its message holds a memory address, so it differs from run to run
        start = data[:8].hex(" ")
        raise InputError(f"{name}: not a readable image (no known format; {len(data)} bytes, first {start})") from error
    except MemoryError:  # says something of this machine, not of the photo
        raise
    except Exception as error:  # PIL raises whatever its parsers trip over: OSError, SyntaxError, KeyError, struct.error
        raise InputError(f"{name}: not a readable image ({type(error).__name__}: {error})") from error


def read_image(path: Path | str, *, name: str | None = None) -> np.ndarray:
    """Read a photo from disk; `name` is what to call it in an error, the path if None. See `decode_image`."""
    name = str(path) if name is None else name
    return decode_image(read_bounded(Path(path), max_bytes=MAX_PHOTO_BYTES, name=name), name=name)


def read_shrunk(path: Path, *, name: str, long_side: int | None) -> tuple[np.ndarray, Shape]:
    """Read a photo from disk, see `decode_shrunk`."""
    return decode_shrunk(read_bounded(path, max_bytes=MAX_PHOTO_BYTES, name=name), name=name, long_side=long_side)


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{name}: {width} x {height} pixels; at most {MAX_PIXELS} are decoded, make it smaller")
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise InputError(f"{name}: {getattr(image, 'n_frames', 'several')} frames; expected a single photo")


def _check_whole(image: Image.Image, data: bytes, name: str) -> None:
    try:
        check_whole(image, data)
    except InputError as error:
        raise InputError(f"{name}: not a readable image ({error})") from error


def _from_jpeg(header: Image.Image, data: bytes, name: str, long_side: int | None) -> np.ndarray:
    """Pixels by simplejpeg: those of PIL, both are libjpeg-turbo, but where it warns of lost data PIL gives grey."""
    if header.mode in ("RGB", "L"):
        enough = {}
        if long_side is not None:
            height, width = resized_shape(header.size[::-1], image_size=long_side)
            enough = {"min_height": height, "min_width": width, "min_factor": 2}  # between 1/2 and 1 libjpeg is slow
        pixels, turn = simplejpeg.decode_jpeg(data, colorspace="RGB", **enough), _turn(header)
        return pixels if turn is None else np.array(Image.fromarray(pixels).transpose(turn))
    simplejpeg.decode_jpeg(data, colorspace="CMYK")
    header.load()
    image = _upright(header)
    if "adobe" not in header.info:
        image = ImageChops.invert(image)  # PIL inverts every CMYK JPEG
    return np.array(_as_rgb(image, name))


def _upright(image: Image.Image) -> Image.Image:
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that EXIF asks for; None if the image is upright or EXIF is absent or damaged."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing against the pixels, and PIL raises whatever it trips over
        return None


def _as_rgb(image: Image.Image, name: str) -> Image.Image:
    mode, info = image.mode, image.info
    if mode == "RGB" and "transparency" not in info:
        return image
    if mode == "F" or mode == "I" and not _sixteen_bit(image):
        raise InputError(f"{name}: pixels are floating-point or of more than 16 bits; expected 8 or 16 bits a channel")
    if mode == "I" or mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _sixteen_bit(image: Image.Image) -> bool:
    """Whether a photo of mode "I" (32-bit integers, how PIL holds some 16-bit files) stays within 16 bits."""
    low, high = image.getextrema()
    return int(low) >= 0 and int(high) <= 0xFFFF  # type: ignore[arg-type]
