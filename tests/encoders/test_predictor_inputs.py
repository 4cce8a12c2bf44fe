"""What a predictor answers to unusual and to wrong questions; parity is in test_sam_vit_parity.py."""

import numpy as np
import pytest
import torch

import encoders
from encoders import predictor as predictor_module
from encoders.export import ExportedSam
from encoders.prompts import Prompts


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
    masks, scores, logits = predictor.predict(Prompts(boxes=boxes(4)))
    assert (masks.shape, masks.dtype) == ((4, 3, 90, 140), bool)
    assert (scores.shape, scores.dtype) == ((4, 3), np.float32)
    assert (logits.shape, logits.dtype) == ((4, 3, 32, 32), np.float32)
    assert predictor.predict(Prompts(boxes=boxes(4)), multimask=False).masks.shape == (4, 1, 90, 140)


def test_many_prompts_are_answered_in_chunks_with_the_same_result(predictor, monkeypatch):
    whole = predictor.predict(Prompts(boxes=boxes(7)))
    monkeypatch.setattr(predictor_module, "PROMPT_CHUNK", 3)
    parts = predictor.predict(Prompts(boxes=boxes(7)))
    assert np.allclose(whole.logits, parts.logits, atol=1e-4)
    assert np.array_equal(whole.scores.argmax(1), parts.scores.argmax(1))


def test_no_prompts_give_no_masks(predictor):
    answer = predictor.predict(Prompts(boxes=np.zeros((0, 4))), multimask=False)
    assert answer.masks.shape == (0, 1, 90, 140)
    assert answer.scores.shape == (0, 1)


def test_a_point_of_padding_changes_nothing_of_its_own(predictor):
    point = np.array([[[100.0, 30.0]]])
    padded = np.concatenate([point, np.zeros((1, 1, 2))], axis=1)
    one = predictor.predict(Prompts(points=padded, labels=np.array([[1, -1]])))
    two = predictor.predict(Prompts(points=padded + np.array([[[0, 0], [55, 66]]]), labels=np.array([[1, -1]])))
    assert np.allclose(one.logits, two.logits, atol=1e-5)


def test_a_stored_embedding_answers_like_the_photo(sam, photo, predictor):
    other = encoders.Predictor(sam)
    other.set_embedding(predictor.embedding, shape=predictor.shape)
    assert np.array_equal(other.predict(Prompts(boxes=boxes(2))).masks, predictor.predict(Prompts(boxes=boxes(2))).masks)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({}, "no prompt"),
        ({"boxes": np.zeros(4)}, r"\(P, 4\) xyxy, got \(4,\); for one box pass \[\[x0, y0, x1, y1\]\]"),
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
        predictor.predict(Prompts(**prompt))


POINT, BOX = np.array([[[100.0, 30.0]]]), np.array([[10.0, 5.0, 130.0, 80.0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_coordinate_that_is_no_number_is_named(predictor, value):
    points, box = POINT.copy(), BOX.copy()
    points[0, 0, 1] = box[0, 2] = value
    with pytest.raises(encoders.InputError, match=r"points.*expected (finite numbers|pixels of this photo)"):
        predictor.predict(Prompts(points=points, labels=np.array([[1]])))
    with pytest.raises(encoders.InputError, match=r"boxes.*expected (finite numbers|pixels of this photo)"):
        predictor.predict(Prompts(boxes=box))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_mask_input_that_float32_cannot_hold_is_named(predictor, value):
    masks = np.zeros((1, 1, 32, 32))
    masks[0, 0, 3, 4] = value
    with pytest.raises(encoders.InputError, match=r"masks\[0, 0, 3, 4\] is .*; expected finite numbers"):
        predictor.predict(Prompts(boxes=BOX, masks=masks))


@pytest.mark.parametrize("label", [2, 7, -2, 255, np.nan, 0.5, 1j, "1", None])
def test_a_label_without_a_meaning_is_refused(predictor, label):
    with pytest.raises(encoders.InputError, match=r"labels holds .* (1 \(foreground\)|1 foreground)"):
        predictor.predict(Prompts(points=POINT, labels=np.array([[label]])))


@pytest.mark.parametrize("label", [np.int8(1), np.uint8(1), True, 1.0])
def test_a_label_may_be_of_any_kind_of_number(predictor, label):
    expected = predictor.predict(Prompts(points=POINT, labels=np.array([[1]])))
    assert np.array_equal(predictor.predict(Prompts(points=POINT, labels=np.array([[label]]))).logits, expected.logits)


def test_lists_of_numbers_are_arrays(predictor):
    expected = predictor.predict(Prompts(points=POINT, labels=np.array([[1]]), boxes=BOX))
    given = predictor.predict(Prompts(points=POINT.tolist(), labels=[[1]], boxes=BOX.tolist()))
    assert np.array_equal(given.logits, expected.logits)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({"boxes": BOX * 1j}, "boxes holds complex128; expected real numbers"),
        ({"boxes": [["a", "b", "c", "d"]]}, "boxes holds .*; expected real numbers"),
        ({"boxes": [[1, 2, 3, 4], [1, 2]]}, "boxes cannot be made a numpy array"),
        ({"boxes": BOX, "labels": np.ones((1, 1))}, "labels are given without points"),
    ],
)
def test_prompts_that_are_no_numbers_are_named(predictor, prompt, text):
    with pytest.raises(encoders.InputError, match=text):
        predictor.predict(Prompts(**prompt))


def test_coordinates_may_lie_outside_the_photo_by_its_long_side(predictor):
    """The photo is 140 x 90 (width x height)."""
    cut_off = np.array([[-140.0, -140.0, 280.0, 230.0]])
    assert np.isfinite(predictor.predict(Prompts(boxes=cut_off)).scores).all()
    for side in range(4):
        further = cut_off + np.eye(4)[side] * (-1 if side < 2 else 1)
        with pytest.raises(encoders.InputError, match=r"boxes\[0\].* far outside the photo of 140 x 90.* at most 140 outside"):
            predictor.predict(Prompts(boxes=further))


def test_where_a_point_of_padding_lies_does_not_matter(predictor):
    points = np.concatenate([POINT, [[[9e5, -9e5]]]], axis=1)
    near = np.concatenate([POINT, [[[0, 0]]]], axis=1)
    answers = [predictor.predict(Prompts(points=given, labels=np.array([[1, -1]]))).logits for given in (points, near)]
    assert np.allclose(*answers, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (BOX, r"the prompts are a ndarray; expected encoders.Prompts: pass Prompts\(boxes=boxes\) or Prompts\(points=points"),
        ({"boxes": BOX}, r"the prompts are a dict; expected encoders.Prompts: pass Prompts\(\*\*prompts\)"),
        (None, "the prompts are a NoneType; expected encoders.Prompts"),
    ],
)
def test_what_is_no_prompts_is_answered_with_the_right_call(predictor, given, text):
    for predict in (predictor.predict, predictor.predict_tokens):
        with pytest.raises(encoders.InputError, match=text):
            predict(given)


def test_prompts_have_a_number_and_rows():
    prompts = Prompts(boxes=boxes(5), masks=np.arange(5).reshape(5, 1, 1, 1))
    assert (len(prompts), len(Prompts()), len(prompts[3:9])) == (5, 0, 2)
    assert set(prompts.given) == {"boxes", "masks"}
    part = prompts[1:3]
    assert part.points is None and np.array_equal(part.boxes, boxes(5)[1:3]) and part.masks.ravel().tolist() == [1, 2]


@pytest.mark.parametrize("make", [encoders.Predictor, encoders.SamPredictor])
def test_the_name_of_a_model_is_no_model(make):
    with pytest.raises(encoders.InputError, match=r"pass encoders.load\('sam_demo'\)"):
        make("sam_demo")


def test_an_image_comes_first(sam):
    with pytest.raises(encoders.InputError, match="set_image first"):
        encoders.Predictor(sam).predict(Prompts(boxes=boxes(1)))


def test_a_model_in_train_mode_is_refused(photo):
    sam = encoders.build_sam("repvit_m0_6", image_size=128).train()
    with pytest.raises(encoders.InputError, match="train mode"):
        encoders.Predictor(sam).set_image(photo)


def test_a_refused_image_leaves_the_one_before(predictor):
    expected = predictor.predict(Prompts(boxes=BOX))
    with pytest.raises(encoders.InputError):
        predictor.set_image(np.zeros((0, 9, 3), np.uint8))
    assert np.array_equal(predictor.predict(Prompts(boxes=BOX)).logits, expected.logits)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda e: e.numpy(), "embedding is a ndarray; expected a torch tensor"),
        (lambda e: e[:, :255], r"\(1, 255, 8, 8\) torch.float32; .* \(1, 256, 8, 8\)"),
        (lambda e: e[0], r"\(1, 256, 8, 8\) floating-point"),
        (lambda e: e.repeat(2, 1, 1, 1), r"\(1, 256, 8, 8\) floating-point"),
        (lambda e: e.to(torch.int8), "torch.int8; .* floating-point"),
        (lambda e: e.index_fill(1, torch.tensor([3]), torch.nan), "holds 64 values that are NaN or infinite"),
        (lambda e: e * torch.inf, "NaN or infinite"),
    ],
)
def test_an_embedding_that_cannot_be_one_is_refused_and_the_one_before_stays(predictor, change, text):
    before = predictor.embedding
    with pytest.raises(encoders.InputError, match=text):
        predictor.set_embedding(change(before.clone()), shape=(90, 140))
    assert predictor.embedding is before


@pytest.mark.parametrize("shape", [(90,), (90, 140, 3), (0, 140), (90, -1), (90.5, 140), "90x140", None])
def test_the_size_of_an_embeddings_photo_is_checked(predictor, shape):
    with pytest.raises(encoders.InputError, match=r"expected \(height, width\)"):
        predictor.set_embedding(predictor.embedding, shape=shape)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_an_embedding_of_another_precision_is_used_in_float32(predictor, kind):
    expected = predictor.predict(Prompts(boxes=BOX))
    predictor.set_embedding(predictor.embedding.to(kind), shape=(90, 140))
    assert np.allclose(predictor.predict(Prompts(boxes=BOX)).scores, expected.scores, atol=0.05)


def test_an_embedding_of_another_size_is_refused(predictor):
    with pytest.raises(encoders.InputError, match="needs 8 x 8"):
        predictor.set_embedding(predictor.embedding[..., :4, :4], shape=(90, 140))


class NeverAsked:
    """A runtime whose decoder must not see a wrong prompt."""

    def encode(self, image):
        return np.zeros((1, 256, 8, 8), np.float32)

    def decode(self, *given):
        raise AssertionError("the decoder was asked")


@pytest.mark.parametrize(
    "prompt", [{"boxes": BOX * np.nan}, {"boxes": BOX * 100}, {"points": POINT, "labels": np.array([[3]])}]
)
def test_an_exported_model_is_not_asked_with_a_wrong_prompt(photo, prompt):
    predictor = encoders.Predictor(ExportedSam(NeverAsked(), arch="repvit_m0_6", image_size=128))
    predictor.set_image(photo)
    with pytest.raises(encoders.InputError, match="expected"):
        predictor.predict(Prompts(**prompt))
