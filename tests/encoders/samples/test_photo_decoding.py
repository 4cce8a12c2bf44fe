"""Photos as they come: turned, grey, in print colours, deep, transparent, cut off."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from encoders import InputError
from encoders.samples.image import decode_image, read_image

# A 6 x 10 photo (height x width): left half red, right half blue, the top row of pixels is white.
UPRIGHT = np.zeros((6, 10, 3), np.uint8)
UPRIGHT[:, :5] = (255, 0, 0)
UPRIGHT[:, 5:] = (0, 0, 255)
UPRIGHT[0] = 255

ORIENTATION = 0x0112  # EXIF tag: how the stored pixels must be turned to stand upright


def encoded(image, *, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# How a camera stores the upright photo under each EXIF orientation (the inverse of what a viewer does).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_photo_is_upright(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)))
    assert np.array_equal(decode_image(encoded(stored, exif=exif), name="x"), UPRIGHT)


def test_a_turned_jpeg_is_upright():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    large = np.kron(UPRIGHT, np.ones((8, 8, 1), np.uint8))
    data = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(large))), kind="JPEG", quality=95, exif=exif)
    image = decode_image(data, name="x")
    assert image.shape == (48, 80, 3)
    assert image[30, 20, 0] > 200
    assert image[30, 60, 2] > 200


def test_grey_becomes_three_equal_channels():
    grey = np.array([[0, 100, 255]], np.uint8)
    image = decode_image(encoded(Image.fromarray(grey)), name="x")
    assert np.array_equal(image, np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_become_eight():
    deep = np.array([[0, 257 * 100, 65535]], np.uint16)
    image = decode_image(encoded(Image.fromarray(deep)), name="x")
    assert image[0, :, 1].tolist() == [0, 100, 255]


def test_print_colours_are_converted():
    cmyk = Image.new("CMYK", (16, 8), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    image = decode_image(encoded(cmyk, kind="JPEG", quality=95), name="x")
    assert image.shape == (8, 16, 3)
    assert (image[..., 0] > 240).all()
    assert (image[..., 1:] < 15).all()


def test_print_colours_without_an_adobe_marker_are_not_inverted():
    """Adobe writes ink as 255 - ink and says so in a marker; here the marker is cut out, so 0 means no ink."""
    inverted = encoded(Image.new("CMYK", (16, 8), (255, 0, 0, 255)), kind="JPEG", quality=95)
    marker = inverted.index(b"\xff\xee")
    plain = inverted[:marker] + inverted[marker + 16 :]
    image = decode_image(plain, name="x")
    assert (image[..., 0] > 240).all() and (image[..., 1:] < 15).all()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_other_formats_are_turned_too(orientation, kind):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode_image(encoded(stored, kind=kind, exif=exif, **options), name="x"), UPRIGHT)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "RGB"])
def test_transparent_parts_are_laid_on_white(mode):
    """One black pixel, transparent, beside an opaque grey one; a palette, L, 1 or RGB photo names its transparent colour."""
    grey = (255,) * 3 if mode == "1" else (100, 100, 100)
    photo = Image.new("RGB", (2, 1), (0, 0, 0))
    photo.putpixel((1, 0), grey)
    options = {}
    if mode in ("RGBA", "LA"):
        photo.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    else:
        options = {"transparency": (0, 0, 0) if mode == "RGB" else 0}
    photo = photo.quantize(2) if mode == "P" else photo.convert(mode)
    if mode == "P":
        options = {"transparency": photo.getpixel((0, 0))}
    image = decode_image(encoded(photo, **options), name="x")
    assert image[0].tolist() == [[255, 255, 255], list(grey)]


def test_half_transparent_red_on_white_is_pink():
    image = decode_image(encoded(Image.new("RGBA", (3, 2), (255, 0, 0, 51))), name="x")
    assert image[0, 0].tolist() == [255, 204, 204]  # a fifth of the way from white to red


@pytest.mark.parametrize("mode", ["P", "RGBA", "1", "LA"])
def test_other_modes_give_rgb(mode):
    image = decode_image(encoded(Image.fromarray(UPRIGHT).convert(mode)), name="x")
    assert (image.shape, image.dtype) == ((6, 10, 3), np.uint8)
    assert image.flags.writeable
    if mode in ("P", "RGBA"):
        assert np.array_equal(image, UPRIGHT)


@pytest.mark.parametrize("keep", [0, 10, 300, -2])
def test_a_truncated_jpeg_is_an_error_with_its_name_not_grey_pixels(keep):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind="JPEG")
    assert decode_image(data, name="whole").shape == (40, 60, 3)
    with pytest.raises(InputError, match="sa_7.jpg: not a readable image"):
        decode_image(data[: keep or None] if keep else b"", name="sa_7.jpg")


def test_a_photo_whose_exif_cannot_be_written_anew_is_still_turned():
    """A tag that must be a number (width, 0x0100) holds text: the orientation beside it can be read all the same."""
    width = b"\x01\x00" + b"\x00\x02" + b"\x00\x00\x00\x06" + b"\x00\x00\x00\x26"  # tag, text, 6 bytes, at 38
    turned = b"\x01\x12" + b"\x00\x03" + b"\x00\x00\x00\x01" + b"\x00\x06\x00\x00"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02" + width + turned + b"\x00\x00\x00\x00maker\x00"
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](UPRIGHT)))
    assert np.array_equal(decode_image(encoded(stored, exif=exif), name="x"), UPRIGHT)


@pytest.mark.parametrize("damage", ["rows cut out", "zeros in its middle", "more rows stated"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lost_data_but_not_its_end_is_an_error_not_grey_pixels(damage, mode):
    """PIL decodes all three: what is lost becomes grey."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise).convert(mode), kind="JPEG")
    middle, frame = len(data) // 2, data.index(b"\xff\xc0")
    damaged = {
        "rows cut out": data[:middle] + data[-2:],
        "zeros in its middle": data[:middle] + bytes(4096) + data[middle + 4096 :],
        "more rows stated": data[: frame + 5] + struct.pack(">H", 400) + data[frame + 7 :],
    }[damage]
    Image.open(io.BytesIO(damaged)).load()
    with pytest.raises(InputError, match=r"x: not a readable image \(ValueError: Corrupt JPEG"):
        decode_image(damaged, name="x")


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_of_a_jpeg_are_those_of_pil(subsampling, progressive):
    smooth = Image.fromarray(np.kron(UPRIGHT, np.ones((7, 9, 1), np.uint8))).resize((91, 43))
    data = encoded(smooth, kind="JPEG", subsampling=subsampling, progressive=progressive)
    assert np.array_equal(decode_image(data, name="x"), np.array(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("exif", [b"Exif\x00\x00", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b"Exif\x00\x00" + b"\x07" * 40])
def test_damaged_exif_leaves_the_pixels_as_they_are_stored(exif):
    assert np.array_equal(decode_image(encoded(Image.fromarray(UPRIGHT), exif=exif), name="x"), UPRIGHT)


@pytest.mark.filterwarnings("ignore::UserWarning")  # PIL says what it skips
@given(st.binary(max_size=60), st.integers(0, 80), st.integers(0, 255))
def test_no_exif_at_all_costs_a_photo(tail, place, value):
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 3, "maker"
    damaged = bytearray(exif.tobytes() + tail)
    damaged[place % len(damaged)] = value
    image = decode_image(encoded(Image.new("RGB", (9, 4), (255, 0, 0)), kind="JPEG", exif=bytes(damaged)), name="x")
    assert sorted(image.shape) == [3, 4, 9] and image[..., 0].min() > 240


def test_text_is_no_image():
    with pytest.raises(InputError, match="not a readable image"):
        decode_image(b"<html>404</html>", name="x")


def test_a_decompression_bomb_is_refused_before_its_pixels_are_decoded():
    """60,000 x 60,000 pixels of a PNG's header would be 14 GB."""
    whole = bytearray(encoded(Image.fromarray(UPRIGHT)))
    whole[16:24] = struct.pack(">II", 60_000, 60_000)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    with pytest.raises(InputError, match="DecompressionBomb"):
        decode_image(bytes(whole), name="x")


def test_a_photo_beyond_the_limit_of_pixels_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr("encoders.samples.image.MAX_PIXELS", 59)
    with pytest.raises(InputError, match="10 x 6 pixels; at most 59"):
        decode_image(encoded(Image.fromarray(UPRIGHT)), name="x")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_an_animation_is_no_photo(kind):
    frames = [Image.fromarray(UPRIGHT), Image.fromarray(255 - UPRIGHT)]
    data = encoded(frames[0], kind=kind, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="2 frames; expected a single photo"):
        decode_image(data, name="x")


def test_the_first_picture_of_a_cameras_multi_picture_file_is_the_photo():
    data = encoded(Image.new("RGB", (40, 24), "red"), kind="MPO", save_all=True, append_images=[Image.new("RGB", (10, 6))])
    assert decode_image(data, name="x").shape == (24, 40, 3)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_an_unknown_range_are_refused(mode):
    wide = Image.fromarray(np.array([[0.0, 1.0, 70_000.0]], np.float32)).convert(mode)
    with pytest.raises(InputError, match="floating-point or of more than 16 bits"):
        decode_image(encoded(wide, kind="TIFF"), name="x")


def test_a_photo_is_read_from_disk(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(UPRIGHT)))
    assert np.array_equal(read_image(tmp_path / "a.png"), UPRIGHT)
    with pytest.raises(InputError, match="absent.png does not exist"):
        read_image(tmp_path / "absent.png")


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name, words in {"pipe.jpg": "is a pipe", "folder.jpg": "is a folder", "loop.jpg": "cannot be opened"}.items():
        with pytest.raises(InputError, match=f"{name} {words}"):
            read_image(tmp_path / name, name=name)
    for name in ("a\0b.jpg", "x" * 300):
        with pytest.raises(InputError):
            read_image(tmp_path / name)


def test_a_file_too_large_for_a_photo_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("encoders.samples.image.MAX_PHOTO_BYTES", 10)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(UPRIGHT)))
    with pytest.raises(InputError, match=r"bytes; at most 10 are read"):
        read_image(tmp_path / "a.png")
