"""Detection of truncated image files before decoding, because PIL fills missing pixels with black."""

import struct
import zlib
from collections.abc import Iterator

import simplejpeg
from PIL import BmpImagePlugin, Image, PngImagePlugin, TiffImagePlugin

from encoders.errors import InputError
from encoders.messages.words import counted

PIECE_BYTES = 1 << 16  # that are unpacked at a time; nothing of them is kept
PNG_SIGNATURE_BYTES = 8
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type -> numbers a pixel
# Adam7, the order of an interlaced PNG: first column and row of each pass, and the steps to the next ones.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
WIDTH, HEIGHT, COMPRESSION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 256, 257, 259, 273, 277, 278, 279  # TIFF tags
PLANES, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, JPEG_TABLES = 284, 322, 323, 324, 325, 347
TIFF_JPEG, TIFF_OLD_JPEG = 7, 6
TIFF_FAX = (2, 3, 4, 32771)
TIFF_HEADER_BYTES = 8


def check_whole(image: Image.Image, data: bytes) -> None:
    """Check a PNG, TIFF or BMP whose header PIL has read; decoders of other formats detect truncation themselves.

    Args:
        image: opened, not decoded.
        data: the file.

    Raises:
        InputError: less pixel data than its size takes, damaged data, or a compression whose decoder does not tell.
    """
    if isinstance(image, PngImagePlugin.PngImageFile):
        check_png(data)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiff(image, data)
    elif isinstance(image, BmpImagePlugin.BmpImageFile) and image.info.get("compression") in (1, 2):  # RLE8, RLE4
        raise InputError("a run-length coded BMP, in which missing pixels are black; store it uncompressed or as PNG")


def check_png(data: bytes) -> None:
    """Decompress a PNG's pixel data piecewise and count its bytes, holding at most about 64 KiB in memory.

    Raises:
        InputError: it has fewer bytes than the stated size takes, or cannot be unpacked.
    """
    width, height, bits, colour, interlaced = _png_header(data)
    pixel_bits = bits * CHANNELS.get(colour, 0)
    needed = _interlaced_bytes(width, height, pixel_bits) if interlaced else height * _row_bytes(width, pixel_bits)
    unpacker, found = zlib.decompressobj(), 0
    try:
        for piece in _png_pieces(data):
            left: bytes | memoryview = piece
            while left and not unpacker.eof and found <= needed:
                found += len(unpacker.decompress(left, PIECE_BYTES))
                left = unpacker.unconsumed_tail
        while not unpacker.eof and found <= needed and (rest := unpacker.decompress(b"", PIECE_BYTES)):
            found += len(rest)
    except zlib.error as error:
        raise InputError(f"its pixel data is damaged ({error})") from error
    if found < needed:
        raise InputError(f"{found} bytes of pixel data; {width} x {height} pixels take {needed}")
    if found == needed and not unpacker.eof:
        raise InputError("its pixel data has no end; it was cut off")


def _png_header(data: bytes) -> tuple[int, int, int, int, int]:
    """Read width and height in pixels, bit depth, colour type and whether the image is interlaced."""
    start = PNG_SIGNATURE_BYTES + 8
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, start)
    return width, height, bits, colour, interlaced


def _png_pieces(data: bytes) -> Iterator[memoryview]:
    """Yield the compressed pixel data chunk by chunk."""
    view, place = memoryview(data), PNG_SIGNATURE_BYTES
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IDAT":
            chunk = view[place + 8 : place + 8 + length]
            for start in range(0, len(chunk), PIECE_BYTES):
                yield chunk[start : start + PIECE_BYTES]
        place += 12 + length


def _row_bytes(width: int, pixel_bits: int) -> int:
    """Return the bytes of a row, including its filter byte."""
    return 1 + -(-width * pixel_bits // 8)


def _interlaced_bytes(width: int, height: int, pixel_bits: int) -> int:
    total = 0
    for column, row, right, down in PASSES:
        columns, rows = max(0, -(-(width - column) // right)), max(0, -(-(height - row) // down))
        total += rows * _row_bytes(columns, pixel_bits) if columns else 0
    return total


def _check_tiff(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    tags = image.tag_v2
    compression = tags.get(COMPRESSION, 1)
    if compression in (*TIFF_FAX, TIFF_OLD_JPEG):
        raise InputError("a TIFF compressed as a fax or an old JPEG, whose decoder hides what is missing; store it otherwise")
    width, height = tags[WIDTH], tags[HEIGHT]
    planes = tags.get(SAMPLES, 1) if tags.get(PLANES, 1) == 2 else 1
    if TILE_OFFSETS in tags:
        offsets, sizes = tags[TILE_OFFSETS], tags.get(TILE_BYTES, ())
        needed = -(-width // tags[TILE_WIDTH]) * -(-height // tags[TILE_HEIGHT]) * planes
    else:
        offsets, sizes = tags[STRIP_OFFSETS], tags.get(STRIP_BYTES, ())
        needed = -(-height // min(height, tags.get(ROWS_PER_STRIP, height))) * planes
    if len(offsets) < needed:
        raise InputError(f"its pixel data has {counted(len(offsets), 'part')}; {width} x {height} pixels take {needed}")
    if min(offsets) < TIFF_HEADER_BYTES:
        raise InputError("its pixel data would begin in the file's header")
    if compression == TIFF_JPEG:
        colours = "CMYK" if planes == 1 and tags.get(SAMPLES, 1) == 4 else "RGB"
        for start, size in zip(offsets, sizes, strict=True):
            part = bytes(data[start : start + size])
            if tables := tags.get(JPEG_TABLES):
                part = tables[:-2] + part[2:]  # without the end of the one and the beginning of the other
            simplejpeg.decode_jpeg(part, colorspace=colours)  # libtiff makes what is missing grey, this raises
