"""Photos as they come: turned, grey, in print colours, deep, transparent, cut off."""

import io

import numpy as np
import pytest
from PIL import Image

from encoders import InputError
from encoders.image import decode_image, read_image

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


def test_a_photo_whose_exif_cannot_be_read_is_an_error_with_its_name():
    """To turn a photo, PIL writes its EXIF anew; here a tag that must be a number (width, 0x0100) holds text."""
    width = b"\x01\x00" + b"\x00\x02" + b"\x00\x00\x00\x06" + b"\x00\x00\x00\x26"  # tag, text, 6 bytes, at 38
    turned = b"\x01\x12" + b"\x00\x03" + b"\x00\x00\x00\x01" + b"\x00\x06\x00\x00"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02" + width + turned + b"\x00\x00\x00\x00maker\x00"
    with pytest.raises(InputError, match="broken.jpg: not a readable image"):
        decode_image(encoded(Image.fromarray(UPRIGHT), kind="JPEG", exif=exif), name="broken.jpg")


def test_text_is_no_image():
    with pytest.raises(InputError, match="not a readable image"):
        decode_image(b"<html>404</html>", name="x")


def test_a_decompression_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(InputError, match="DecompressionBomb"):
        decode_image(encoded(Image.fromarray(UPRIGHT)), name="x")


def test_a_photo_is_read_from_disk(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(UPRIGHT)))
    assert np.array_equal(read_image(tmp_path / "a.png"), UPRIGHT)
    with pytest.raises(InputError, match="absent.png does not exist"):
        read_image(tmp_path / "absent.png")
