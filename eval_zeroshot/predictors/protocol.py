"""What a suite needs of a model: an image set, prompts answered. `encoders.Predictor` is one; so is a box filler."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.predictor import PROMPT_CHUNK, Prediction
from encoders.prompts import Prompts, check_prompts

MASK_PIXELS_PER_CALL = 2**24  # bounds memory: a photo's prompts are asked in groups whose masks have this many pixels
# The same on a GPU, which few prompts at a time leave idle: a byte a pixel, and about as much again while they are made
DEVICE_MASK_PIXELS_PER_CALL = {"cuda": 2**28, "mps": 2**27}


class PredictorLike(Protocol):
    """An image that is set, and answers to prompts on it; see `encoders.Predictor` and `encoders.Prompts`."""

    def set_image(self, image: np.ndarray, /) -> None: ...

    def predict(self, prompts: Prompts, *, multimask: bool = True) -> Prediction: ...


@runtime_checkable
class AnswersAllTokens(Protocol):
    """A predictor that gives the single mask and the three of multimask by one decode, as `encoders.Predictor`."""

    def predict_tokens(self, prompts: Prompts) -> Prediction: ...


Answer = tuple[np.ndarray, np.ndarray, np.ndarray]  # masks (P, M, H, W) bool, scores (P, M), logits (P, M, S/4, S/4)


def prompts_per_call(predictor: PredictorLike, shape: Shape) -> int:
    """Prompts to ask at a time on a photo of `shape` (height, width), three masks each."""
    pixels = DEVICE_MASK_PIXELS_PER_CALL.get(device_type(predictor))
    most = max(1, (pixels or MASK_PIXELS_PER_CALL) // (3 * shape[0] * shape[1]))
    return most if pixels is None else min(most, PROMPT_CHUNK)


def device_type(predictor: object) -> str:
    """Type of the device that a predictor's model is on; "cpu" for one that does not say."""
    return torch.device(getattr(getattr(predictor, "sam", None), "device", "cpu")).type


def ask(predictor: PredictorLike, prompts: Prompts, *, shape: Shape, multimask: bool) -> Answer:
    """`predictor.predict`, its answer checked: masks (P, M, H, W) bool of the photo's own size, scores (P, M), logits.

    Raises:
        InputError: `prompts` is no `Prompts`; or the answer has another shape, e.g. height and width swapped.
    """
    answer = predictor.predict(check_prompts(prompts), multimask=multimask)
    return _checked(predictor, answer, count=len(prompts), channels=3 if multimask else 1, shape=shape)


def ask_single_and_three(predictor: PredictorLike, prompts: Prompts, *, shape: Shape) -> tuple[Answer, Answer]:
    """What `ask` answers without and with `multimask`, by one decode where the predictor can, else by two calls."""
    if not isinstance(predictor, AnswersAllTokens):
        single, three = (ask(predictor, prompts, shape=shape, multimask=multimask) for multimask in (False, True))
        return single, three
    answer = predictor.predict_tokens(check_prompts(prompts))
    found, scores, logits = _checked(predictor, answer, count=len(prompts), channels=4, shape=shape)
    return (found[:, :1], scores[:, :1], logits[:, :1]), (found[:, 1:], scores[:, 1:], logits[:, 1:])


def _checked(predictor: object, answer: Prediction, *, count: int, channels: int, shape: Shape) -> Answer:
    found, scores, logits = answer
    expected = (count, channels, *shape)
    if np.shape(found) != expected or np.shape(scores) != expected[:2]:
        raise InputError(
            f"{type(predictor).__name__} answered masks {np.shape(found)} and scores {np.shape(scores)}; "
            f"expected {expected} and {expected[:2]}: prompts, masks a prompt, height and width of the photo"
        )
    return np.asarray(found, bool), np.asarray(scores), np.asarray(logits)
