"""Hostile photos."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.shards.helpers.photos import jpeg, make_photo
from tests.shards.hostile.case import Case, encoded, photo_in_tar

PHOTO = jpeg(make_photo(2))
RGB = Image.fromarray(make_photo(2))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*, width: int, height: int, before: bytes = b"") -> bytes:
    """A PNG that states a size; its pixel data is that of one row."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1 + 3 * min(width, 1000))))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + png_chunk(b"IEND", b"")


def jpeg_stating(width: int, height: int) -> bytes:
    frame = PHOTO.index(b"\xff\xc0")
    return PHOTO[: frame + 5] + struct.pack(">HH", height, width) + PHOTO[frame + 9 :]


def webp_stating(side: int) -> bytes:
    """An extended WebP whose canvas is `side` pixels square."""
    still = encoded(RGB, "WEBP")[12:]
    canvas = b"\x10\0\0\0" + 2 * struct.pack("<I", side - 1)[:3]
    body = b"WEBP" + b"VP8X" + struct.pack("<I", len(canvas)) + canvas + still
    return b"RIFF" + struct.pack("<I", len(body)) + body


def packed_zeros(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(mebibytes)) + packer.flush()


def animation(kind: str) -> bytes:
    return encoded(RGB, kind, save_all=True, append_images=[RGB.rotate(180)], **({} if kind == "PNG" else {"duration": 50}))


def turned_with_broken_exif() -> bytes:
    return encoded(RGB, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")


def without_adobe_marker() -> bytes:
    data = encoded(Image.new("CMYK", (120, 50), (0, 255, 255, 0)), "JPEG")
    marker = data.index(b"\xff\xee")
    return data[:marker] + data[marker + 16 :]


def wide(dtype: type, kind: str) -> bytes:
    return encoded(Image.fromarray(np.arange(6000).reshape(50, 120).astype(dtype)), kind)


def half_transparent() -> bytes:
    clear = RGB.copy()
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    return encoded(clear, "PNG")


def a_tar() -> bytes:
    import tarfile

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("sa_9.jpg"))
    return file.getvalue()


def ten_rows() -> bytes:
    whole = png(width=120, height=120)
    place = whole.index(b"IDAT") - 4
    return whole[:place] + png_chunk(b"IDAT", zlib.compress(bytes(10 * 361))) + png_chunk(b"IEND", b"")


def tiff_stating_rows() -> bytes:
    data = encoded(RGB, "TIFF")
    height = struct.pack("<HHII", 257, 4, 1, RGB.height)
    assert height in data
    return data.replace(height, struct.pack("<HHII", 257, 4, 1, 500))


def cut_off_png() -> bytes:
    """Of 600 bytes of pixel data, and what comes after."""
    whole = encoded(Image.fromarray(noise()), "PNG")
    place = whole.index(b"IDAT") - 4
    return whole[:place] + png_chunk(b"IDAT", whole[place + 8 : place + 608]) + png_chunk(b"IEND", b"")


def fax_tiff() -> bytes:
    return encoded(RGB.convert("1"), "TIFF", compression="group4")


def run_length_bmp() -> bytes:
    palette = bytes(1024)
    body = b"\0\2\xff\xff" * 40 + b"\0\1"  # 40 jumps over pixels, then the end
    facts = struct.pack("<IiiHHIIiiII", 40, 9000, 9000, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + facts + palette + body


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 120, 3), dtype=np.uint8)


def with_hole(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(1024) + data[middle + 1024 :]


UNREADABLE = "not a readable image"


def bad(name: str, says: str, data: object) -> Case:
    return Case(name=name, outcome="quarantined", says=says, build=photo_in_tar(data))  # type: ignore[arg-type]


def good(name: str, says: str, data: object) -> Case:
    return Case(name=name, outcome="kept", says=says, build=photo_in_tar(data))  # type: ignore[arg-type]


CASES = [
    bad("a file of zero bytes named .jpg", "no known format; 0 bytes", b""),
    bad("a JPEG cut off in its middle", "Premature end of JPEG file", PHOTO[: len(PHOTO) // 2]),
    bad("a JPEG with 1 KiB of zeros in its middle", "Corrupt JPEG data", lambda: with_hole(jpeg(noise()))),
    bad("a JPEG cut off in its middle, its end mark put back", "premature end of data", PHOTO[: len(PHOTO) // 2] + PHOTO[-2:]),
    bad("a JPEG cut off in its header", UNREADABLE, PHOTO[:100]),
    bad("a JPEG without its last two bytes", "Premature end of JPEG file", PHOTO[:-2]),
    bad("an HTML page named .jpg", "no known format", b"<html>404 not found</html>"),
    bad("an SVG drawing named .jpg", "no known format", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
    bad(
        "PostScript named .jpg, which some readers run", "no known format", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    ),
    bad("a tar named .jpg", "no known format", a_tar),
    bad("random bytes named .jpg", "no known format", np.random.default_rng(0).bytes(5000)),
    bad("an animated GIF named .jpg", "no known format", lambda: animation("GIF")),
    bad("an animated WebP", "2 frames; expected a single photo", lambda: animation("WEBP")),
    bad("an animated PNG", "2 frames; expected a single photo", lambda: animation("PNG")),
    bad("a TIFF of two pages", "2 frames; expected a single photo", lambda: animation("TIFF")),
    bad(
        "a PNG of 60,000 x 60,000 pixels (a decompression bomb)", "DecompressionBomb", lambda: png(width=60_000, height=60_000)
    ),
    bad("a PNG of 2,147,483,647 x 1 pixels", "DecompressionBomb", lambda: png(width=2**31 - 1, height=1)),
    bad("a PNG of 10,000 x 10,000 pixels", "10000 x 10000 pixels; at most", lambda: png(width=10_000, height=10_000)),
    bad("a JPEG that states 65,500 x 65,500 pixels", "DecompressionBomb", lambda: jpeg_stating(65_500, 65_500)),
    bad("a JPEG that states more rows than it has", "premature end of data", lambda: jpeg_stating(120, 500)),
    bad("a WebP whose canvas is 65,000 pixels square", UNREADABLE, lambda: webp_stating(65_000)),
    bad(
        "a PNG whose compressed text unpacks to 20 MiB",
        UNREADABLE,
        lambda: png(width=120, height=50, before=png_chunk(b"zTXt", b"a\0\0" + packed_zeros(20))),
    ),
    bad(
        "a PNG whose colour profile unpacks to 20 MiB",
        UNREADABLE,
        lambda: png(width=120, height=50, before=png_chunk(b"iCCP", b"a\0\0" + packed_zeros(20))),
    ),
    bad(
        "a PNG with a wrong checksum",
        UNREADABLE,
        lambda: png(width=120, height=1).replace(b"\x08\x02\0\0\0", b"\x08\x02\0\0\0\xff", 1),
    ),
    bad("a PNG of 120 rows with the pixel data of ten", "3610 bytes of pixel data; 120 x 120 pixels take 43320", ten_rows),
    bad(
        "a PNG of 9,000 x 9,900 pixels with the pixel data of part of a row",
        "3001 bytes of pixel data; 9000 x 9900 pixels take 267309900",
        lambda: png(width=9000, height=9900),
    ),
    bad("a PNG whose pixel data was cut off", "bytes of pixel data; 120 x 50 pixels take 18050", cut_off_png),
    bad("a TIFF that states more rows than it has", "its pixel data has 1 part; 120 x 500 pixels take", tiff_stating_rows),
    bad("a TIFF compressed as a fax", "decoder hides what is missing", fax_tiff),
    bad("a run-length coded BMP of 81 million pixels in 1 KiB", "in which missing pixels are black", run_length_bmp),
    bad("a TIFF of floating-point pixels", "floating-point or of more than 16 bits", lambda: wide(np.float32, "TIFF")),
    good("a PNG named .jpg", "read as what it is", lambda: encoded(RGB, "PNG")),
    good("a photo with damaged EXIF", "pixels as they are stored", turned_with_broken_exif),
    good("a photo 1 pixel wide", "resized to 1 x 128 there", lambda: encoded(RGB.resize((1, 400)), "PNG")),
    good("a photo of 3,000 x 3 pixels", "the short side stays 1 pixel", lambda: encoded(RGB.resize((3000, 3)), "PNG")),
    good("a photo of 1 x 1 pixel", "enlarged", lambda: encoded(RGB.resize((1, 1)), "PNG")),
    good("a 16-bit PNG", "the upper 8 bits", lambda: wide(np.uint16, "PNG")),
    good("a CMYK JPEG, inverted as Adobe writes it", "inverted back", lambda: encoded(RGB.convert("CMYK"), "JPEG")),
    good("a CMYK JPEG without Adobe's marker", "taken as it is", without_adobe_marker),
    good("a palette PNG", "its colours", lambda: encoded(RGB.quantize(16), "PNG")),
    good("a photo with an alpha channel", "laid on white", half_transparent),
    good("a black-and-white TIFF", "three equal channels", lambda: encoded(RGB.convert("1"), "TIFF")),
]
