"""Cropping of run-length encoded masks, against cropping the decoded ones."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from encoders.samples.rle import decode_segmentation, encode_mask
from encoders.samples.rle_crop import Window, crop_rles


def blobs(shape, *, seed):
    """Masks of every kind: smooth, scattered, empty, full, a frame, single pixels in the corners."""
    rng = np.random.default_rng(seed)
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 3) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2
    frame = np.ones(shape, bool)
    frame[1:-1, 1:-1] = False
    corners = np.zeros(shape, bool)
    corners[0, 0] = corners[-1, -1] = corners[-1, 0] = True
    return [disc, rng.random(shape) < 0.4, np.zeros(shape, bool), np.ones(shape, bool), frame, corners, rows < 3]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("place", [(0, 0, 23, 31), (0, 0, 1, 1), (22, 30, 1, 1), (5, 7, 12, 9), (0, 3, 23, 4), (4, 0, 3, 31)])
def test_a_crop_has_the_pixels_of_the_decoded_masks_crop(place, mirror):
    masks = blobs((23, 31), seed=1)
    top, left, height, width = place
    window = Window(top=top, left=left, height=height, width=width, mirror=mirror)
    found = crop_rles([encode_mask(mask) for mask in masks], window)
    for mask, seen in zip(masks, found, strict=True):
        expected = window.cut(mask)
        assert expected.shape == (height, width)
        if not expected.any():
            assert seen is None
            continue
        assert seen.rle == encode_mask(expected)  # byte for byte what pycocotools makes of the pixels
        assert np.array_equal(decode_segmentation(seen.rle, shape=(height, width)), expected)
        assert (seen.area, seen.whole_area) == (expected.sum(), mask.sum())
        assert list(seen.box) == coco_mask.toBbox(seen.rle).tolist()


def test_many_random_windows():
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = tuple(rng.integers(1, 30, 2).tolist())
        masks = [rng.random(shape) < share for share in (0.1, 0.5, 0.9)]
        height, width = (int(rng.integers(1, side + 1)) for side in shape)
        top, left = int(rng.integers(shape[0] - height + 1)), int(rng.integers(shape[1] - width + 1))
        window = Window(top=top, left=left, height=height, width=width, mirror=bool(rng.random() < 0.5))
        for mask, seen in zip(masks, crop_rles([encode_mask(mask) for mask in masks], window), strict=True):
            assert (encode_mask(window.cut(mask)) if window.cut(mask).any() else None) == (seen and seen.rle)


def test_no_mask_gives_none():
    assert crop_rles([], Window(top=0, left=0, height=2, width=2)) == []
