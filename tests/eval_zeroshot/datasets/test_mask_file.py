"""Masks from image files: what is on, what is refused. Masks are 6 high and 8 wide, objects off the diagonal."""

import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from eval_zeroshot.datasets.mask_file import read_labels, read_mask, regions

ON = np.zeros((6, 8), bool)
ON[1:3, 4:7] = True


def saved(tmp_path, image):
    image.save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def grey(high, *, low=0):
    return Image.fromarray(np.where(ON, high, low).astype(np.uint8))


def palette(index):
    image = Image.fromarray(np.where(ON, index, 0).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0] * 256)  # the colours say nothing
    return image


@pytest.mark.parametrize(
    "image",
    [
        grey(255),
        grey(1),
        grey(128, low=127),  # the edge of a mask that was smoothed
        palette(1),
        palette(255),
        Image.fromarray(ON),
        grey(255).convert("RGB"),
        grey(255).convert("LA"),
    ],
    ids=["255", "1", "greys", "palette 1", "palette 255", "one bit", "colour", "alpha"],
)
def test_on_is_on_however_it_is_written(tmp_path, image):
    assert (read_mask(saved(tmp_path, image), shape=(6, 8)) == ON).all()


def test_nothing_on_is_an_empty_mask(tmp_path):
    assert not read_mask(saved(tmp_path, grey(0)), shape=(6, 8)).any()


def test_numbers_of_objects_are_kept(tmp_path):
    labels = read_labels(saved(tmp_path, palette(255)), shape=(6, 8))
    assert labels.dtype == np.uint8 and set(labels[ON]) == {255} and set(labels[~ON]) == {0}
    assert set(read_labels(saved(tmp_path, grey(2)), shape=(6, 8))[ON]) == {2}


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (grey(100), "the highest grey is 100"),
        (grey(255).transpose(Image.Transpose.TRANSPOSE), r"is \(8, 6\), its photo \(6, 8\)"),
        (Image.fromarray(np.where(ON, 60000, 0).astype(np.uint16)), "expected 8 bits"),
    ],
    ids=["neither", "turned", "16 bits"],
)
def test_a_mask_that_is_none_is_refused(tmp_path, image, says):
    with pytest.raises(InputError, match=says):
        read_mask(saved(tmp_path, image), shape=(6, 8))


def test_files_that_are_no_mask_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png does not exist"):
        read_mask(tmp_path / "gone.png", shape=(6, 8))
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match="expected a mask"):
        read_mask(tmp_path / "text.png", shape=(6, 8))
    path = saved(tmp_path, grey(255))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="mask"):
        read_mask(path, shape=(6, 8))
    with pytest.raises(InputError, match="mode RGB; expected an indexed PNG"):
        read_labels(saved(tmp_path, grey(255).convert("RGB")), shape=(6, 8))


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(*, width, height, rows):
    """A grey PNG that states a size and has pixel data of some rows."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(b"".join(b"\0" + b"\xff" * width for _ in range(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_mask_that_lacks_rows_is_not_taken_for_background(tmp_path):
    (tmp_path / "mask.png").write_bytes(png(width=8, height=6, rows=6))
    assert read_mask(tmp_path / "mask.png", shape=(6, 8)).all()
    (tmp_path / "mask.png").write_bytes(png(width=8, height=6, rows=2))
    for read in (read_mask, read_labels):
        with pytest.raises(InputError, match=r"mask\.png: not a readable mask"):
            read(tmp_path / "mask.png", shape=(6, 8))


@pytest.mark.parametrize("side", [10_000, 60_000])  # PIL warns of the first and refuses the second
def test_a_mask_of_too_many_pixels_is_refused_undecoded(tmp_path, side):
    (tmp_path / "mask.png").write_bytes(png(width=side, height=side, rows=1))
    with warnings.catch_warnings(), pytest.raises(InputError, match=r"mask\.png: .*(at most|exceeds limit)"):
        warnings.simplefilter("ignore")
        read_mask(tmp_path / "mask.png", shape=(side, side))


def test_regions_touch_by_corners():
    mask = np.zeros((6, 8), bool)
    mask[1, 5] = mask[2, 4] = mask[4, 1] = True
    first, second = regions(mask)
    assert np.argwhere(first).tolist() == [[1, 5], [2, 4]] and np.argwhere(second).tolist() == [[4, 1]]
    assert regions(np.zeros((6, 8), bool)) == []
