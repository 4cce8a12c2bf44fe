"""What a suite needs of a model: an image set, prompts answered. `encoders.Predictor` is one; so is a box filler."""

from typing import Protocol

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.predictor import Prediction

MASK_PIXELS_PER_CALL = 2**24  # bounds memory: a photo's prompts are asked in groups whose masks have this many pixels


class PredictorLike(Protocol):
    """See `encoders.Predictor`: points (P, N, 2) xy, labels (P, N), boxes (P, 4) xyxy, masks (P, 1, S/4, S/4) logits."""

    def set_image(self, image: np.ndarray, /) -> None: ...

    def predict(
        self,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        masks: np.ndarray | None = None,
        multimask: bool = True,
    ) -> Prediction: ...


def prompts_per_call(shape: Shape) -> int:
    """Prompts to ask at a time on a photo of `shape` (height, width), three masks each."""
    return max(1, MASK_PIXELS_PER_CALL // (3 * shape[0] * shape[1]))


def ask(
    predictor: PredictorLike,
    *,
    shape: Shape,
    points: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    multimask: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`predictor.predict`, its answer checked: masks (P, M, H, W) bool of the photo's own size, scores (P, M), logits.

    Raises:
        InputError: the answer has another shape, e.g. height and width swapped.
    """
    answer = predictor.predict(points=points, labels=labels, boxes=boxes, masks=masks, multimask=multimask)
    found, scores, logits = answer
    count = len(boxes) if boxes is not None else len(points) if points is not None else 0
    expected = (count, 3 if multimask else 1, *shape)
    if np.shape(found) != expected or np.shape(scores) != expected[:2]:
        raise InputError(
            f"{type(predictor).__name__} answered masks {np.shape(found)} and scores {np.shape(scores)}; "
            f"expected {expected} and {expected[:2]}: prompts, masks a prompt, height and width of the photo"
        )
    return np.asarray(found, bool), np.asarray(scores), np.asarray(logits)
