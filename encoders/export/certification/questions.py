"""The prompts of a certificate: boxes, clicks, both together, and boxes with a mask of an earlier round."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from encoders.contract import MASK_STRIDE
from encoders.export.modules.prompt_decoder import BACKGROUND, FOREGROUND
from encoders.geometry import Shape
from encoders.prompts import Prompts
from encoders.samples.sample import Sample

Kind = Literal["box", "click", "mask"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_OBJECTS = 4  # largest objects of a photo that are used
MASK_LOGIT = 8.0  # of the mask that stands in for an earlier round: the filled box
SPREAD = (0.618, 0.382)  # steps from one point of a box to the next, as shares of its sides; the first is in the middle


@dataclass(frozen=True, kw_only=True)
class Question:
    """One kind of prompt for all objects of a photo.

    Attributes:
        kind: "box" is a box and points in it; "click" is points alone; "mask" is a box and a mask of an earlier round.
        points: N of each prompt as a decoder counts them: two for a box, and one for the padding point if there is no box.
    """

    kind: Kind
    points: int


def questions(*, points: tuple[int, ...], masks: bool) -> list[Question]:
    """Return the questions of a certificate.

    Args:
        points: numbers of points per prompt that the decoder takes, each 2 or more; see `Format.points`.
        masks: whether the decoder takes masks of an earlier round.
    """
    asked = [Question(kind=kind, points=count) for count in points for kind in ("box", "click")]
    return asked + ([Question(kind="mask", points=points[0])] if masks else [])


def boxes_of(sample: Sample) -> np.ndarray:
    """Return the boxes of a photo's largest objects, (P, 4) float32 xyxy in its pixels; three fixed boxes if it has none."""
    order = np.argsort(-sample.areas, kind="stable")[:MAX_OBJECTS]
    if len(order):
        return np.asarray(sample.boxes[order], np.float32)
    height, width = sample.shape
    shares = np.asarray([[0.1, 0.1, 0.5, 0.6], [0.4, 0.2, 0.9, 0.8], [0.3, 0.5, 0.7, 0.95]])
    return (shares * [width, height, width, height]).astype(np.float32)


def prompts_of(question: Question, boxes: np.ndarray, *, shape: Shape, image_size: int) -> Prompts:
    """Return the prompts of a question.

    Args:
        boxes: (P, 4) xyxy in pixels of the photo.
        shape: (height, width) of the photo; image_size: S of the model.
    """
    extra = question.points - (1 if question.kind == "click" else 2)
    points, labels = points_in(boxes, count=extra) if extra else (None, None)
    masks = filled(boxes * (image_size / max(shape)), image_size=image_size) if question.kind == "mask" else None
    return Prompts(points=points, labels=labels, boxes=None if question.kind == "click" else boxes, masks=masks)


def points_in(boxes: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (P, N, 2) xy in boxes (P, 4), the first in the middle, and labels (P, N), alternately 1 and 0."""
    steps = np.arange(count)[:, None] * np.asarray(SPREAD)
    shares = (0.5 + steps) % 1
    points = boxes[:, None, :2] + shares * (boxes[:, None, 2:] - boxes[:, None, :2])
    labels = np.where(np.arange(count) % 2 == 0, FOREGROUND, BACKGROUND)
    return points, np.tile(labels, (len(boxes), 1))


def filled(boxes: np.ndarray, *, image_size: int) -> np.ndarray:
    """Return logits, (P, 1, S/4, S/4) float32, positive inside boxes (P, 4) xyxy in pixels of the input frame."""
    centres = (np.arange(image_size // MASK_STRIDE) + 0.5) * MASK_STRIDE
    columns = (centres >= boxes[:, :1]) & (centres < boxes[:, 2:3])
    rows = (centres >= boxes[:, 1:2]) & (centres < boxes[:, 3:])
    inside = rows[:, :, None] & columns[:, None, :]
    return np.where(inside, MASK_LOGIT, -MASK_LOGIT).astype(np.float32)[:, None]
