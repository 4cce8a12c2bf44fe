"""Photos as upright RGB arrays, whatever their file says."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from encoders.errors import InputError


def decode_image(data: bytes, *, name: str) -> np.ndarray:
    """Encoded bytes -> (H, W, 3) uint8 RGB, turned upright by EXIF; greyscale, CMYK, palette and alpha are converted.

    Args:
        data: a whole JPEG, PNG or WebP file.
        name: what to call it in an error.

    Raises:
        InputError: no image, a truncated one, or one beyond PIL's decompression-bomb limit.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16") or upright.mode == "I":
                wide = np.asarray(upright, np.float32)
                upright = Image.fromarray((wide / 257).clip(0, 255).astype(np.uint8))
            return np.array(upright.convert("RGB"))
    except UnidentifiedImageError as error:  # its message holds a memory address, so it differs from run to run
        start = data[:8].hex(" ")
        raise InputError(f"{name}: not a readable image (no known format; {len(data)} bytes, first {start})") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:  # struct: EXIF
        raise InputError(f"{name}: not a readable image ({type(error).__name__}: {error})") from error


def read_image(path: Path | str) -> np.ndarray:
    """Read a photo from disk; see `decode_image`."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a photo")
    return decode_image(path.read_bytes(), name=str(path))
