"""`encoders.SamPredictor` answers as segment-anything's class of that name, on the same weights."""

import numpy as np
import pytest
import segment_anything
import torch
from segment_anything.modeling import Sam as OriginalSam
from torch import nn

import encoders

SIZE = 128
POINTS, LABELS, BOX = np.array([[100.0, 20.5], [12.0, 80.0]]), np.array([1, 0]), np.array([30.0, 10.0, 125.0, 62.0])
LOW = np.random.default_rng(0).normal(size=(1, SIZE // 4, SIZE // 4)).astype(np.float32)
PROMPTS = {
    "point": {"point_coords": POINTS[:1], "point_labels": LABELS[:1]},
    "points": {"point_coords": POINTS, "point_labels": LABELS},
    "box": {"box": BOX},
    "box in a row, as in segment-anything's notebook": {"box": BOX[None]},
    "box and points": {"box": BOX, "point_coords": POINTS, "point_labels": LABELS},
    "box and mask": {"box": BOX, "mask_input": LOW},
}


class WithSize(nn.Module):
    """Our image encoder as segment-anything's model expects one."""

    img_size = SIZE

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, image):
        return self.encoder(image)


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(encoders.build_sam("repvit_m0_6", image_size=SIZE))


@pytest.fixture(scope="module")
def pair(sam, photo):
    """segment-anything's predictor and ours, the photo of 140 x 90 set."""
    original = OriginalSam(WithSize(sam.image_encoder), sam.prompt_encoder, sam.mask_decoder).eval()
    theirs, ours = segment_anything.SamPredictor(original), encoders.SamPredictor(sam)
    theirs.set_image(photo)
    ours.set_image(photo)
    return theirs, ours


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", PROMPTS)
def test_answers_are_those_of_segment_anything(pair, kind, multimask):
    theirs, ours = pair
    expected = theirs.predict(**PROMPTS[kind], multimask_output=multimask)
    given = ours.predict(**PROMPTS[kind], multimask_output=multimask)
    assert [(one.shape, one.dtype) for one in given] == [(one.shape, one.dtype) for one in expected]
    assert given[0].shape == (3 if multimask else 1, 90, 140) and given[0].dtype == bool
    assert 0.01 < expected[0].mean() < 0.99
    assert (given[0] != expected[0]).mean() < 1e-3  # a logit near the threshold may fall on either side
    for one, other in zip(given[1:], expected[1:], strict=True):
        assert np.abs(one - other).max() <= 1e-3 * np.abs(other).max()


def test_logits_in_place_of_masks(pair):
    expected, given = (each.predict(box=BOX, return_logits=True)[0] for each in pair)
    assert (given.shape, given.dtype) == (expected.shape, expected.dtype) == ((3, 90, 140), np.float32)
    assert np.abs(given - expected).max() <= 1e-3 * np.abs(expected).max()


def test_a_mask_of_an_earlier_round_is_taken_as_it_was_given(pair):
    low = [each.predict(box=BOX, multimask_output=False)[2] for each in pair]
    expected, given = (
        each.predict(box=BOX, mask_input=one, multimask_output=False)[2] for each, one in zip(pair, low, strict=True)
    )
    assert np.abs(given - expected).max() <= 1e-3 * np.abs(expected).max()


def test_what_can_be_read_of_the_image_that_is_set(pair):
    theirs, ours = pair
    assert torch.allclose(ours.get_image_embedding(), theirs.get_image_embedding(), atol=1e-5)
    assert torch.equal(ours.features, ours.get_image_embedding())
    assert (ours.original_size, ours.input_size) == (theirs.original_size, theirs.input_size) == ((90, 140), (82, 128))
    assert (ours.is_image_set, ours.device) == (theirs.is_image_set, theirs.device)


def test_channels_in_the_order_of_opencv(sam, photo):
    one, other = encoders.SamPredictor(sam), encoders.SamPredictor(sam)
    one.set_image(photo)
    other.set_image(photo[..., ::-1], image_format="BGR")
    assert torch.equal(one.features, other.features)
    with pytest.raises(encoders.InputError, match="image_format is 'rgb'; expected RGB or BGR"):
        one.set_image(photo, image_format="rgb")


def test_an_image_can_be_forgotten(sam, photo):
    predictor = encoders.SamPredictor(sam)
    predictor.set_image(photo)
    predictor.reset_image()
    assert not predictor.is_image_set
    for ask in (lambda: predictor.predict(box=BOX), predictor.get_image_embedding, lambda: predictor.original_size):
        with pytest.raises(encoders.InputError, match="set_image first"):
            ask()


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({}, "no prompt given; pass point_coords with point_labels, box, or mask_input"),
        ({"point_coords": POINTS[None], "point_labels": LABELS}, r"point_coords must be \(N, 2\), got \(1, 2, 2\)"),
        ({"point_coords": POINTS}, r"point_coords without point_labels; expected point_coords \(N, 2\)"),
        ({"point_labels": LABELS}, r"point_labels without point_coords; expected"),
        ({"point_coords": POINTS, "point_labels": LABELS[:1]}, r"point_labels must be \(2,\), got \(1,\)"),
        ({"box": np.stack([BOX, BOX])}, r"box must be \(4,\), got \(2, 4\); for several prompts"),
        ({"box": [[1, 2], [3]]}, "box cannot be made a numpy array"),
        ({"mask_input": LOW[0]}, r"mask_input must be \(1, 32, 32\), got \(32, 32\)"),
        ({"box": BOX * np.nan}, r"^box\[0\] is nan; expected finite numbers"),
        ({"box": BOX + 5000}, r"^box is \[.*\], far outside the photo"),
        ({"point_coords": POINTS * [1, np.inf], "point_labels": LABELS}, r"^point_coords\[0, 1\] is inf; expected finite"),
        ({"point_coords": POINTS, "point_labels": [2, 3]}, "^point_labels holds 2, 3; expected .*; give boxes by `box`$"),
    ],
)
def test_a_malformed_prompt_is_named(pair, prompt, text):
    with pytest.raises(encoders.InputError, match=text):
        pair[1].predict(**prompt)
