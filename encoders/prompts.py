"""Prompts as a user gives them, checked and brought into a model's input frame."""

import numpy as np

from encoders.contract import MASK_STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, scale_boxes, scale_points


def prompts_to_frame(
    *,
    shape: Shape,
    image_size: int,
    points: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """P prompts on a photo of `shape` (height, width) -> those given, in the input frame of S = `image_size`.

    Args:
        points: (P, N, 2) xy and boxes: (P, 4) xyxy, pixels of the photo; labels: (P, N).
        masks: (P, 1, S/4, S/4) logits.

    Raises:
        InputError: none is given, they differ in number, or one has another shape.
    """
    scaled: dict[str, np.ndarray] = {}
    if points is not None:
        given = None if labels is None else np.shape(labels)
        if np.ndim(points) != 3 or np.shape(points)[2] != 2 or given != np.shape(points)[:2]:
            raise InputError(f"points must be (P, N, 2) with labels (P, N), got {np.shape(points)} and {given}")
        scaled["points"] = scale_points(points, shape=shape, image_size=image_size)
        scaled["labels"] = np.asarray(labels, np.int64)
    if boxes is not None:
        if np.ndim(boxes) != 2 or np.shape(boxes)[1] != 4:
            raise InputError(f"boxes must be (P, 4) xyxy, got {np.shape(boxes)}")
        scaled["boxes"] = scale_boxes(boxes, shape=shape, image_size=image_size)
    if masks is not None:
        side = image_size // MASK_STRIDE
        if np.ndim(masks) != 4 or np.shape(masks)[1:] != (1, side, side):
            raise InputError(f"masks must be (P, 1, {side}, {side}) logits, got {np.shape(masks)}")
        scaled["masks"] = np.asarray(masks, np.float32)
    if not scaled:
        raise InputError("no prompt given; pass points with labels, boxes, or masks")
    if len({len(value) for value in scaled.values()}) != 1:
        raise InputError(f"prompts differ in number: { {name: len(value) for name, value in scaled.items()} }")
    return scaled
