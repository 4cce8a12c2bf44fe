"""What is an image for a predictor, and what its message says of what is none."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import encoders
from encoders.prompts import Prompts
from encoders.samples.given_image import check_image


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((9, 9), np.uint8), "(9, 9) uint8; a grey image: pass np.stack([image] * 3, axis=2)"),
        (np.zeros((9, 9, 1), np.uint8), "a grey image: pass np.repeat(image, 3, axis=2)"),
        (np.zeros((9, 8, 4), np.uint8), "with an alpha channel: pass image[..., :3]"),
        (np.zeros((3, 9, 8), np.uint8), "channels first: pass image.transpose(1, 2, 0)"),
        (np.zeros((2, 9, 8, 3), np.uint8), "a batch: pass its images to set_images"),
        (np.zeros((9, 8, 3)), "(9, 8, 3) float64; pass (image * 255).round().astype(np.uint8)"),
        (np.zeros((9, 8, 3), np.uint16), "scale its values to 0 to 255"),
        (np.zeros((9, 8, 3), bool), "scale its values to 0 to 255"),
        (np.zeros((0, 8, 3), np.uint8), "of at least one pixel, got (0, 8, 3)"),
        (np.zeros((8, 0, 3), np.uint8), "of at least one pixel, got (8, 0, 3)"),
        ([[[1, 2, 3]]], "got a list"),
        (None, "got None"),
        (Image.new("P", (8, 9)), 'a PIL image of mode P; pass np.asarray(image.convert("RGB"))'),
        ("photo.jpg", "the path 'photo.jpg'; pass read_image(path), from encoders.samples.image"),
        (Path("photo.jpg"), "the path 'photo.jpg'; pass read_image(path), from encoders.samples.image"),
        (b"\xff\xd8", "bytes; pass decode_image"),
        (torch.zeros(3, 9, 8, dtype=torch.uint8), "a torch tensor of (3, 9, 8) torch.uint8; for (3, H, W) uint8 pass"),
    ],
)
def test_what_is_no_image_is_named_with_what_to_do(image, text):
    with pytest.raises(encoders.InputError, match=re.escape(text)) as error:
        check_image(image)
    assert str(error.value).startswith("expected an (H, W, 3) uint8 RGB numpy array")


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(encoders.build_sam("repvit_m0_6", image_size=128))


def read_only(image):
    image = image.copy()
    image.flags.writeable = False
    return image


@pytest.mark.parametrize("size", [128, 140])
@pytest.mark.parametrize("view", [read_only, lambda i: i[::-1, ::-1].copy()[::-1, ::-1], lambda i: np.asfortranarray(i)])
def test_how_an_image_lies_in_memory_does_not_matter(sam, photo, view, size):
    """128 px is the model's own size, where nothing is resized."""
    photo = np.ascontiguousarray(photo[:, :size])
    given = view(photo)
    assert not (given.flags.writeable and given.flags.c_contiguous)
    one, other = encoders.Predictor(sam), encoders.Predictor(sam)
    one.set_image(given)
    other.set_image(photo)
    assert torch.equal(one.embedding, other.embedding)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 700, 3), (700, 1, 3)])
def test_a_strip_of_one_pixel_is_an_image(sam, shape):
    predictor = encoders.Predictor(sam)
    predictor.set_image(np.full(shape, 9, np.uint8))
    answer = predictor.predict(Prompts(boxes=[[0, 0, shape[1], shape[0]]]))
    assert answer.masks.shape == (1, 3, *shape[:2])
    assert np.isfinite(answer.scores).all()
