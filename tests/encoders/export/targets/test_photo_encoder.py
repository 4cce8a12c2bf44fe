"""Whole photos into the encoder, in PyTorch."""

import numpy as np
import pytest
import torch

from encoders.export.targets.photo_encoder import PhotoEncoder, not_black_border, photo_of
from encoders.geometry import resize_image, resized_shape
from encoders.preprocess import normalize_padded, pad_to_square

SIZE = 128


class Keep(torch.nn.Module):
    """An encoder that gives back what it is given."""

    def forward(self, image):
        return image


@pytest.fixture(params=[(90, 128), (128, 77), (128, 128)])
def photo(request) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*request.param, 3), dtype=np.uint8)


def frame_of(photo):
    return normalize_padded(pad_to_square(photo, image_size=SIZE)[None], [photo.shape[:2]])


@pytest.mark.parametrize("trim", [True, False])
def test_a_photo_of_the_models_size_is_the_contracts_image(photo, trim):
    expected = frame_of(photo)
    rows = PhotoEncoder(Keep(), image_size=SIZE, channels_last=True, trim=trim)
    planes = PhotoEncoder(Keep(), image_size=SIZE, channels_last=False, trim=trim)
    assert torch.allclose(rows(torch.from_numpy(photo).float()), expected, atol=1e-6)
    assert torch.allclose(planes(torch.from_numpy(photo).permute(2, 0, 1)[None]), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(333, 500), (61, 40), (684, 1024), (500, 40), (427, 640)])
def test_other_photos_are_resized_as_sams_are(shape):
    photo = np.kron(np.random.default_rng(1).integers(0, 256, (shape[0] // 8 + 1, shape[1] // 8 + 1, 3)), np.ones((8, 8, 1)))
    photo = photo[: shape[0], : shape[1]].astype(np.uint8)
    found = PhotoEncoder(Keep(), image_size=SIZE, channels_last=True, trim=False)(torch.from_numpy(photo).float())
    resized = resize_image(photo, image_size=SIZE)
    assert resized.shape[:2] == resized_shape(shape, image_size=SIZE)
    assert (found - frame_of(resized)).abs().max() < 1.5 / 57  # PIL rounds to whole pixels after each axis


def test_a_black_border_is_padding_and_a_black_corner_inside_the_photo_is_not():
    photo = np.full((60, 128, 3), 90, np.uint8)
    photo[:, 70:] = 0
    photo[50:] = 0
    photo[:20, 30:] = 0
    found = PhotoEncoder(Keep(), image_size=SIZE, channels_last=True, trim=True)(torch.from_numpy(photo).float())
    assert torch.allclose(found, frame_of(photo[:50, :70]), atol=1e-6)
    left_in = PhotoEncoder(Keep(), image_size=SIZE, channels_last=True, trim=False)(torch.from_numpy(photo).float())
    assert left_in[0, :, 30, 100].max() < -1.7


def test_a_photo_that_is_black_all_over_stays_finite():
    assert not_black_border(torch.zeros(1, 3, 5, 7)).sum() == 1


def test_the_photo_comes_back_out_of_its_frame(photo):
    photo[-1, :, :] = photo[:, -1, :] = 0  # black at the edge is no padding
    assert np.array_equal(photo_of(frame_of(photo).numpy()), photo)
