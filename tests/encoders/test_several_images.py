"""One predictor, several photos of different sizes: each answers as if it were alone."""

import numpy as np
import pytest

import encoders
from encoders.prompts import Prompts


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(encoders.build_sam("repvit_m0_6", image_size=128))


@pytest.fixture
def photos(photo):
    return [photo, np.ascontiguousarray(photo[:, :50]), photo[::-1, ::-1].copy()]


def boxes(count, seed):
    corners = np.random.default_rng(seed).uniform(0, 20, (count, 2))
    return np.concatenate([corners, corners + (25, 60)], axis=1)


PROMPTS = [Prompts(boxes=boxes(4, 0)), Prompts(boxes=boxes(1, 1)), Prompts(boxes=boxes(0, 2))]


@pytest.mark.parametrize("multimask", [True, False])
def test_each_photo_answers_as_if_alone(sam, photos, multimask):
    together, alone = encoders.Predictor(sam), encoders.Predictor(sam)
    together.set_images(photos)
    answers = together.predict_images(PROMPTS, multimask=multimask)
    for photo, prompts, answer in zip(photos, PROMPTS, answers, strict=True):
        alone.set_image(photo)
        expected = alone.predict(prompts, multimask=multimask)
        assert answer.masks.shape == (len(prompts), 3 if multimask else 1, *photo.shape[:2])
        assert np.array_equal(answer.masks, expected.masks)
        assert np.allclose(answer.logits, expected.logits, atol=1e-4)
        assert np.allclose(answer.scores, expected.scores, atol=1e-4)


def test_prompts_for_another_number_of_photos(sam, photos):
    predictor = encoders.Predictor(sam)
    predictor.set_images(photos)
    with pytest.raises(encoders.InputError, match="3 images are set, prompts are given for 2"):
        predictor.predict_images(PROMPTS[:2])


def test_photos_prompted_in_different_ways(sam, photos):
    predictor = encoders.Predictor(sam)
    predictor.set_images(photos[:2])
    with pytest.raises(encoders.InputError, match="in the same way"):
        predictor.predict_images([PROMPTS[0], Prompts(points=np.ones((1, 1, 2)), labels=np.ones((1, 1)))])


def test_one_question_for_several_photos_is_ambiguous(sam, photos):
    predictor = encoders.Predictor(sam)
    predictor.set_images(photos)
    with pytest.raises(encoders.InputError, match="predict_images"):
        predictor.predict(PROMPTS[0])


def test_no_photo(sam):
    with pytest.raises(encoders.InputError, match="at least one"):
        encoders.Predictor(sam).set_images([])
    with pytest.raises(encoders.InputError, match="set_images first"):
        encoders.Predictor(sam).predict_images([])


def test_what_is_no_prompts_is_numbered(sam, photos):
    predictor = encoders.Predictor(sam)
    predictor.set_images(photos[:2])
    with pytest.raises(encoders.InputError, match="prompts of image 1 are a dict; expected encoders.Prompts: pass"):
        predictor.predict_images([PROMPTS[0], {"boxes": boxes(1, 0)}])
    with pytest.raises(encoders.InputError, match="prompts of image 1 are a ndarray; expected encoders.Prompts: pass"):
        predictor.predict_images([PROMPTS[0], boxes(1, 0)])


def test_a_prompt_that_is_wrong_in_one_photo_only(sam, photos):
    """The second photo is 50 pixels wide: what lies inside the first one is far outside it."""
    predictor = encoders.Predictor(sam)
    predictor.set_images(photos[:2])
    far = np.array([[139.0, 5.0, 141.0, 30.0]])
    with pytest.raises(encoders.InputError, match="far outside the photo of 50 x 90"):
        predictor.predict_images([Prompts(boxes=far)] * 2)


def test_the_photo_that_is_none_is_numbered(sam, photos):
    with pytest.raises(encoders.InputError, match=r"image 2 of 3: expected an \(H, W, 3\) uint8"):
        encoders.Predictor(sam).set_images([*photos[:2], None])


def test_one_photo_in_the_place_of_a_list(sam, photos):
    with pytest.raises(encoders.InputError, match="call set_image, or pass"):
        encoders.Predictor(sam).set_images(photos[0])
    with pytest.raises(encoders.InputError, match="expected a list of"):
        encoders.Predictor(sam).set_images(None)


def test_a_batch_of_photos_of_one_size_is_a_list_of_them(sam, photos):
    together = encoders.Predictor(sam)
    together.set_images(np.stack([photos[0], photos[2]]))
    assert len(together.predict_images([PROMPTS[0], PROMPTS[1]])) == 2
