"""What a predictor answers to unusual and to wrong questions; parity is in test_sam_vit_parity.py."""

import numpy as np
import pytest

import encoders
from encoders import predictor as predictor_module


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(encoders.build_sam("repvit_m0_6", image_size=128))


@pytest.fixture
def predictor(sam, photo):
    predictor = encoders.Predictor(sam)
    predictor.set_image(photo)
    return predictor


def boxes(count):
    corners = np.random.default_rng(0).uniform(0, 50, (count, 2))
    return np.concatenate([corners, corners + (70, 30)], axis=1)


def test_shapes_and_types(predictor):
    masks, scores, logits = predictor.predict(boxes=boxes(4))
    assert (masks.shape, masks.dtype) == ((4, 3, 90, 140), bool)
    assert (scores.shape, scores.dtype) == ((4, 3), np.float32)
    assert (logits.shape, logits.dtype) == ((4, 3, 32, 32), np.float32)
    assert predictor.predict(boxes=boxes(4), multimask=False).masks.shape == (4, 1, 90, 140)


def test_many_prompts_are_answered_in_chunks_with_the_same_result(predictor, monkeypatch):
    whole = predictor.predict(boxes=boxes(7))
    monkeypatch.setattr(predictor_module, "PROMPT_CHUNK", 3)
    parts = predictor.predict(boxes=boxes(7))
    assert np.allclose(whole.logits, parts.logits, atol=1e-4)
    assert np.array_equal(whole.scores.argmax(1), parts.scores.argmax(1))


def test_no_prompts_give_no_masks(predictor):
    answer = predictor.predict(boxes=np.zeros((0, 4)), multimask=False)
    assert answer.masks.shape == (0, 1, 90, 140)
    assert answer.scores.shape == (0, 1)


def test_a_point_of_padding_changes_nothing_of_its_own(predictor):
    point = np.array([[[100.0, 30.0]]])
    padded = np.concatenate([point, np.zeros((1, 1, 2))], axis=1)
    one = predictor.predict(points=padded, labels=np.array([[1, -1]]))
    two = predictor.predict(points=padded + np.array([[[0, 0], [55, 66]]]), labels=np.array([[1, -1]]))
    assert np.allclose(one.logits, two.logits, atol=1e-5)


def test_a_stored_embedding_answers_like_the_photo(sam, photo, predictor):
    other = encoders.Predictor(sam)
    other.set_embedding(predictor.embedding, shape=predictor.shape)
    assert np.array_equal(other.predict(boxes=boxes(2)).masks, predictor.predict(boxes=boxes(2)).masks)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({}, "no prompt"),
        ({"boxes": np.zeros(4)}, r"\(P, 4\)"),
        ({"boxes": np.zeros((2, 3))}, r"\(P, 4\)"),
        ({"points": np.zeros((1, 2, 2))}, r"labels \(P, N\), got \(1, 2, 2\) and None"),
        ({"points": np.zeros((2, 2)), "labels": np.ones(2)}, r"points must be \(P, N, 2\)"),
        ({"points": np.zeros((1, 2, 2)), "labels": np.ones((1, 3))}, r"got \(1, 2, 2\) and \(1, 3\)"),
        ({"masks": np.zeros((1, 1, 256, 256))}, r"\(P, 1, 32, 32\)"),
        ({"boxes": np.zeros((2, 4)), "masks": np.zeros((1, 1, 32, 32))}, "differ in number"),
    ],
)
def test_a_malformed_prompt_is_named(predictor, prompt, text):
    with pytest.raises(encoders.InputError, match=text):
        predictor.predict(**prompt)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_only_rgb_bytes_are_images(predictor, image):
    with pytest.raises(encoders.InputError, match=r"\(H, W, 3\) uint8"):
        predictor.set_image(image)


def test_an_image_comes_first(sam):
    with pytest.raises(encoders.InputError, match="set_image first"):
        encoders.Predictor(sam).predict(boxes=boxes(1))


def test_a_model_in_train_mode_is_refused(photo):
    sam = encoders.build_sam("repvit_m0_6", image_size=128).train()
    with pytest.raises(encoders.InputError, match="train mode"):
        encoders.Predictor(sam).set_image(photo)


def test_an_embedding_of_another_size_is_refused(predictor):
    with pytest.raises(encoders.InputError, match="needs 8 x 8"):
        predictor.set_embedding(predictor.embedding[..., :4, :4], shape=(90, 140))
