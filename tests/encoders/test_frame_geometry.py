import numpy as np
import pytest
from segment_anything.utils.transforms import ResizeLongestSide

from encoders.geometry import (
    embedding_shape,
    resize_fast,
    resize_image,
    resized_shape,
    scale_boxes,
    scale_points,
    unscale_points,
)

SHAPE = (90, 140)  # height, width
POINTS = np.array([[[0.0, 0.0], [139.0, 20.5]], [[70.0, 90.0], [12.3, 45.6]]])
BOXES = np.array([[10.0, 20.0, 130.0, 85.0], [0.0, 0.0, 140.0, 90.0]])


def test_points_and_boxes_move_as_in_sam():
    sam = ResizeLongestSide(256)
    assert np.allclose(scale_points(POINTS, shape=SHAPE, image_size=256), sam.apply_coords(POINTS, SHAPE), atol=1e-4)
    assert np.allclose(scale_boxes(BOXES, shape=SHAPE, image_size=256), sam.apply_boxes(BOXES, SHAPE), atol=1e-4)


def test_a_box_by_hand():
    """70 x 35 (height x width) to 64: 64 x 32, so y and x shrink by 64 / 70 and 32 / 35, which are the same here."""
    box = scale_boxes(np.array([[7.0, 14.0, 35.0, 70.0]]), shape=(70, 35), image_size=64)
    assert np.allclose(box, [[6.4, 12.8, 32.0, 64.0]])
    assert box.dtype == np.float32


def test_the_two_axes_keep_their_own_scale():
    """5 x 100 to 64: the height rounds 3.2 to 3, so y shrinks by 3 / 5 and x by 64 / 100."""
    point = scale_points(np.array([[50.0, 5.0]]), shape=(5, 100), image_size=64)
    assert np.allclose(point, [[32.0, 3.0]])


@pytest.mark.parametrize("image_size", [64, 256, 1024])
def test_there_and_back(image_size):
    kwargs = {"shape": SHAPE, "image_size": image_size}
    assert np.allclose(unscale_points(scale_points(POINTS, **kwargs), **kwargs), POINTS, atol=1e-4)


def test_no_boxes_and_no_points():
    assert scale_boxes(np.zeros((0, 4)), shape=SHAPE, image_size=64).shape == (0, 4)
    assert scale_points(np.zeros((0, 3, 2)), shape=SHAPE, image_size=64).shape == (0, 3, 2)


def test_a_strip_keeps_at_least_one_pixel():
    assert resized_shape((1, 5000), image_size=256) == (1, 256)
    assert resize_image(np.zeros((1, 5000, 3), np.uint8), image_size=256).shape == (1, 256, 3)


def test_an_image_of_the_right_size_is_not_resampled(photo):
    assert resize_image(photo, image_size=140) is photo


@pytest.mark.parametrize(("shape", "expected"), [((16, 16), (1, 1)), ((17, 256), (2, 16)), ((683, 1024), (43, 64))])
def test_embedding_shape(shape, expected):
    assert embedding_shape(shape) == expected


def test_the_fast_resize_is_pillows_but_for_a_unit_in_few_values():
    photo = np.random.default_rng(1).integers(0, 256, (301, 407, 3), np.uint8)
    exact, fast = resize_image(photo, image_size=140), resize_fast(photo, shape=(104, 140))
    assert fast.shape == exact.shape and fast.flags.c_contiguous
    difference = np.abs(fast.astype(int) - exact)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01
    assert resize_fast(photo, shape=(301, 407)) is photo
