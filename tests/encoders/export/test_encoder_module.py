"""Normalisation inside the exported encoder, and the colour that its padding must have."""

import numpy as np
import torch

import encoders
from encoders.export.modules.pixel_encoder import PAD_COLOUR, PixelEncoder, to_pixels
from encoders.geometry import resize_image
from encoders.preprocess import normalize_padded, pad_to_square

SIZE = 128


def frame_of(image):
    resized = resize_image(image, image_size=SIZE)
    return normalize_padded(pad_to_square(resized, image_size=SIZE)[None], [resized.shape[:2]]), resized


def test_pixels_come_back_exactly_and_padding_becomes_the_mean_colour():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, 71, 3), np.uint8)
    frame, resized = frame_of(image)
    pixels = to_pixels(frame)
    assert pixels.dtype == torch.uint8
    np.testing.assert_array_equal(pixels[0, :, :, :71].permute(1, 2, 0).numpy(), resized)
    assert PAD_COLOUR == (124, 116, 104)
    assert (pixels[0, :, :, 71:].permute(1, 2, 0).numpy() == PAD_COLOUR).all()


@torch.inference_mode()
def test_the_mean_colour_pads_like_zeros_and_black_does_not():
    encoder = encoders.load("sam_demo", image_size=SIZE).image_encoder
    frame, _ = frame_of(np.random.default_rng(1).integers(0, 256, (50, 90, 3), np.uint8))
    pixels = to_pixels(frame).float()
    black = pixels.clone()
    black[:, :, 71:] = 0  # 50 x 90 becomes 71 x 128
    expected = encoder(frame)
    by_colour, by_black = (
        float((PixelEncoder(encoder)(image) - expected).norm() / expected.norm()) for image in (pixels, black)
    )
    assert by_colour < 0.02 < 0.1 < by_black


@torch.inference_mode()
def test_inputs_from_0_to_1_are_the_same_pixels():
    encoder = encoders.load("sam_demo", image_size=SIZE).image_encoder
    pixels = torch.randint(0, 256, (1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0)).float()
    torch.testing.assert_close(
        PixelEncoder(encoder, scale=255)(pixels / 255), PixelEncoder(encoder)(pixels), atol=1e-3, rtol=1e-3
    )
