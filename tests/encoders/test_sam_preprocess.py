"""Our preprocessing against segment-anything's."""

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam as OriginalSam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import nn

from encoders.contract import PIXEL_MEAN
from encoders.geometry import resize_image, resized_shape
from encoders.preprocess import normalize_padded, pad_to_square, valid_positions

SIZE = 256


class Encoder(nn.Module):
    img_size = SIZE


@pytest.fixture
def original():
    """The part of segment-anything's model that preprocesses."""
    return OriginalSam(Encoder(), nn.Module(), nn.Module())


@pytest.mark.parametrize("turned", [False, True])
def test_a_photo_becomes_what_sam_makes_of_it(original, photo, turned):
    image = np.ascontiguousarray(photo.transpose(1, 0, 2)) if turned else photo
    theirs = ResizeLongestSide(SIZE).apply_image(image)
    expected = original.preprocess(torch.as_tensor(theirs).permute(2, 0, 1)[None])
    resized = resize_image(image, image_size=SIZE)
    ours = normalize_padded(pad_to_square(resized, image_size=SIZE)[None], [resized.shape[:2]])
    assert np.array_equal(resized, theirs)
    assert ours.shape == expected.shape == (1, 3, SIZE, SIZE)
    assert (ours - expected).abs().max() <= 1e-6


def test_a_large_photo_is_reduced_with_antialiasing(photo):
    large = np.kron(photo, np.ones((8, 8, 1), np.uint8))  # 720 x 1120
    assert np.array_equal(resize_image(large, image_size=SIZE), ResizeLongestSide(SIZE).apply_image(large))


@pytest.mark.parametrize("shape", [(480, 640), (427, 640), (2250, 1500), (333, 500), (1024, 1024), (3, 1000)])
def test_sizes_round_as_sam_rounds(shape):
    assert resized_shape(shape, image_size=1024) == ResizeLongestSide.get_preprocess_shape(*shape, 1024)


def test_padding_is_zero_after_normalisation_and_the_mean_becomes_zero():
    pixels = torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1).expand(1, 3, 4, 4).clone()
    pixels[:, :, 2:] = 255  # outside the image: must not be seen
    pixels[:, :, :, 3:] = 255
    out = normalize_padded(pixels, [(2, 3)])
    assert not out.any()
    assert normalize_padded(torch.full((1, 3, 4, 4), 255.0), [(2, 3)])[0, :, :2, :3].all()


def test_images_of_different_shapes_share_a_batch(photo):
    small, tall = resize_image(photo, image_size=128), resize_image(photo[:, :40], image_size=128)
    frames = torch.stack([pad_to_square(image, image_size=128) for image in (small, tall)])
    shapes = [small.shape[:2], tall.shape[:2]]
    assert shapes == [(82, 128), (128, 57)]  # 90 x 140 and 90 x 40 by hand
    batch = normalize_padded(frames, shapes)
    for index in range(2):
        assert torch.equal(batch[index], normalize_padded(frames[index : index + 1], shapes[index : index + 1])[0])


def test_valid_positions_cover_every_position_that_sees_a_pixel():
    valid = valid_positions([(82, 128), (128, 57), (16, 17)], image_size=128)
    assert valid.shape == (3, 1, 8, 8)
    assert valid.dtype == torch.bool
    assert [mask.sum().item() for mask in valid] == [6 * 8, 8 * 4, 1 * 2]  # 82 rows need 6 positions, 57 columns 4
    assert valid[2, 0, 0, :3].tolist() == [True, True, False]
    assert not valid[2, 0, 1].any()


def test_pixels_given_as_floats_stay_as_they_are():
    pixels = torch.full((1, 3, 4, 4), 255.0)
    normalize_padded(pixels, [(2, 3)])
    assert (pixels == 255).all()


def test_shapes_may_be_a_tensor_and_channels_last_stays():
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    out = normalize_padded(pixels, torch.tensor([(32, 7), (9, 32)]))
    assert torch.equal(out, normalize_padded(pixels, [(32, 7), (9, 32)]))
    assert out.is_contiguous(memory_format=torch.channels_last)
