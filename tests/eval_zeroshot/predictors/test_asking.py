"""How suites ask a predictor for the single mask and the three of one prompt."""

import numpy as np
import pytest

import encoders
from encoders.errors import InputError
from encoders.predictor import Prediction
from encoders.prompts import Prompts
from eval_zeroshot import BoxIou, FillBox
from eval_zeroshot.predictors.protocol import ask, ask_single_and_three

SHAPE = (20, 30)
BOXES = np.array([[3.0, 2.0, 20.0, 11.0], [14.0, 5.0, 29.0, 19.0]])


@pytest.fixture(scope="module")
def sam():
    return encoders.load("sam_demo", image_size=64)


def photo():
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


def test_one_decode_answers_as_two_calls_do(sam):
    predictor = encoders.Predictor(sam)
    predictor.set_image(photo())
    together = ask_single_and_three(predictor, Prompts(boxes=BOXES), shape=SHAPE)
    for answer, multimask in zip(together, (False, True), strict=True):
        expected = ask(predictor, Prompts(boxes=BOXES), shape=SHAPE, multimask=multimask)
        assert [part.shape for part in answer] == [(2, 3 if multimask else 1, *end) for end in (SHAPE, (), (16, 16))]
        assert all(np.array_equal(part, other) for part, other in zip(answer, expected, strict=True))


def test_a_predictor_of_single_questions_is_asked_twice():
    predictor = FillBox()
    predictor.set_image(photo())
    (single, _, _), (three, _, _) = ask_single_and_three(predictor, Prompts(boxes=BOXES), shape=SHAPE)
    assert (single.shape, three.shape) == ((2, 1, *SHAPE), (2, 3, *SHAPE))


def test_the_box_suite_decodes_once(sam, make_sample, monkeypatch):
    predictor = encoders.Predictor(sam)
    sample = make_sample((1, 1, 20, 14), (12, 3, 28, 17))
    predictor.set_image(sample.image)
    expected = BoxIou().observe(Twice(predictor), sample)
    monkeypatch.setattr(predictor, "predict", None)
    assert BoxIou().observe(predictor, sample) == expected


class Twice:
    """A predictor without `predict_tokens`."""

    def __init__(self, predictor):
        self.predict = predictor.predict


def test_all_tokens_of_a_turned_photo_are_an_error_that_says_so():
    class Turned(FillBox):
        def predict_tokens(self, prompts):
            return Prediction(np.zeros((2, 4, 30, 20), bool), np.zeros((2, 4)), np.zeros((2, 4, 1, 1)))

    with pytest.raises(InputError, match=r"\(2, 4, 30, 20\).*expected \(2, 4, 20, 30\)"):
        ask_single_and_three(Turned(), Prompts(boxes=BOXES), shape=SHAPE)
