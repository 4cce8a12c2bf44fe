"""A file with fewer pixels than it states is refused: what is missing would be black, and look like a photo."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from encoders import InputError
from encoders.samples.image import decode_image
from encoders.samples.whole_image import PASSES, check_png

NOISE = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(packed, *, width=100, height=120, bits=8, colour=2, interlaced=0, pieces=1):
    """A PNG with this packed pixel data, in so many chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    size = max(1, -(-len(packed) // pieces))
    parts = b"".join(chunk(b"IDAT", packed[start : start + size]) for start in range(0, max(1, len(packed)), size))
    return b"\x89PNG\r\n\x1a\n" + header + parts + chunk(b"IEND", b"")


def rows(pixels):
    """Rows as a PNG has them, each with the number of its filter."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def interlaced(pixels):
    return b"".join(rows(part) for x, y, dx, dy in PASSES if (part := pixels[y::dy, x::dx]).size)


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_png_of_ten_rows_of_120_is_refused_with_both_numbers(pieces):
    """PIL reads it without a word: 110 rows are black."""
    packed = zlib.compress(rows(NOISE[:10]))
    with pytest.raises(InputError, match=r"sa_7: not a readable image \(3010 bytes .*; 100 x 120 pixels take 36120\)"):
        decode_image(png(packed, pieces=pieces), name="sa_7")
    assert np.array_equal(decode_image(png(zlib.compress(rows(NOISE)), pieces=pieces), name="x"), NOISE)


def test_a_png_of_a_few_bytes_does_not_become_89_million_pixels():
    packed = zlib.compress(bytes(30))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"30 bytes of pixel data; 9000 x 9900 pixels take 267309900"):
        decode_image(png(packed, width=9000, height=9900), name="x")
    assert tracemalloc.get_traced_memory()[1] < 2**20  # refused before room for pixels was made
    tracemalloc.stop()


@pytest.mark.parametrize("damage", ["cut off", "a flipped bit", "none at all"])
def test_a_png_whose_data_does_not_unpack_to_its_end_is_refused(damage):
    packed = zlib.compress(rows(NOISE))
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 4
    damaged = {"cut off": packed[:-3], "a flipped bit": bytes(flipped), "none at all": b""}[damage]
    with pytest.raises(InputError, match=r"x: not a readable image"):
        decode_image(png(damaged), name="x")


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 1), (1, 9), (7, 8), (33, 18)])
def test_interlaced_pngs_of_all_sizes_are_read_and_one_byte_less_is_refused(shape):
    pixels = NOISE[: shape[0], : shape[1]]
    content, size = interlaced(pixels), {"width": shape[1], "height": shape[0], "interlaced": 1}
    assert np.array_equal(decode_image(png(zlib.compress(content), **size), name="x"), pixels)
    with pytest.raises(InputError, match=f"{len(content) - 1} bytes of pixel data; .* take {len(content)}"):
        decode_image(png(zlib.compress(content[:-1]), **size), name="x")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "P2", "P4"])
@pytest.mark.parametrize("width", [1, 7, 100])
def test_pngs_of_every_depth_take_what_their_size_says(mode, width):
    image = Image.fromarray(NOISE[:, :width].copy())
    if mode == "I;16":
        image = Image.fromarray(NOISE[:, :width, 0].astype(np.uint16) * 257)
    else:
        image = image.quantize(2 ** int(mode[1])) if mode in ("P2", "P4") else image.convert(mode)
    check_png(encoded(image, **({"bits": int(mode[1])} if mode in ("P2", "P4") else {})))


def test_more_data_than_the_size_takes_is_read_as_other_readers_do():
    packed = zlib.compress(rows(NOISE) + bytes(10_000_000))
    assert np.array_equal(decode_image(png(packed), name="x"), NOISE)


def tagged(data, tag, value):
    """A TIFF of one page, with another value of a tag."""
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        found, kind = struct.unpack_from("<HH", data, entry)
        if found == tag:
            return data[: entry + 8] + struct.pack("<I" if kind == 4 else "<Hxx", value) + data[entry + 12 :]
    raise KeyError(tag)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_of_more_rows_than_it_has_is_refused(compression):
    data = encoded(Image.fromarray(NOISE), "TIFF", compression=compression)
    assert decode_image(data, name="x").shape == NOISE.shape
    with pytest.raises(InputError, match="x: not a readable image"):
        decode_image(tagged(data, 257, 240), name="x")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_jpeg_in_a_tiff_that_was_cut_off_is_refused(share):
    """libtiff makes what is missing grey."""
    data = encoded(Image.fromarray(NOISE), "TIFF", compression="jpeg")
    with Image.open(io.BytesIO(data)) as image:
        (size,) = image.tag_v2[279]
    with pytest.raises(InputError, match="x: not a readable image"):
        decode_image(tagged(data, 279, int(size * share)), name="x")


def test_tiffs_of_tiles_grey_print_colours_and_several_strips_are_read():
    for mode in ("L", "RGB", "CMYK", "LAB", "P"):
        image = Image.fromarray(NOISE).convert("RGB" if mode == "LAB" else mode)
        for compression in ("raw", "tiff_lzw") + (("jpeg",) if mode in ("L", "RGB", "CMYK") else ()):
            for options in ({}, {"tiffinfo": {278: 16}}):
                data = encoded(image, "TIFF", compression=compression, **options)
                assert decode_image(data, name="x").shape == NOISE.shape


def test_a_fax_in_a_tiff_and_a_run_length_coded_bmp_are_refused_with_what_to_do():
    fax = encoded(Image.fromarray(NOISE).convert("1"), "TIFF", compression="group4")
    with pytest.raises(InputError, match=r"compressed as a fax .* store it otherwise"):
        decode_image(fax, name="x")
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    body = b"\0\2\xff\xff" * 40 + b"\0\1"  # 40 jumps over pixels, then the end: 81 million black pixels for PIL
    start = 14 + 40 + len(palette)
    facts = struct.pack("<IiiHHIIiiII", 40, 9000, 9000, 1, 8, 1, len(body), 0, 0, 256, 0)
    bmp = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + facts + palette + body
    with pytest.raises(InputError, match=r"run-length coded BMP.* store it uncompressed or as PNG"):
        decode_image(bmp, name="x")


def riff(kind, payload):
    body = b"WEBP" + kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_a_webp_with_less_data_is_refused_even_where_its_sizes_say_so(lossless, share):
    data = encoded(Image.fromarray(NOISE), "WEBP", lossless=lossless)
    kind, (size,) = data[12:16], struct.unpack_from("<I", data, 16)
    for damaged in (data[: int(len(data) * share)], riff(kind, data[20 : 20 + int(size * share)])):
        with pytest.raises(InputError, match="x: not a readable image"):
            decode_image(damaged, name="x")


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP", "PNG"])
def test_a_file_cut_off_anywhere_is_refused(kind):
    data = encoded(Image.fromarray(NOISE), kind)
    for share in (0.02, 0.3, 0.7, 0.98):
        with pytest.raises(InputError, match="not a readable image"):
            decode_image(data[: int(len(data) * share)], name="x")
