"""Validation of user prompts and their conversion to the model's input frame."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from encoders.contract import MASK_STRIDE
from encoders.errors import InputError, did_you_mean
from encoders.geometry import Shape, scale_boxes, scale_points

KINDS = ("points", "labels", "boxes", "masks")
PADDING, BACKGROUND, FOREGROUND = -1, 0, 1  # labels of points, as segment-anything has them
OUTSIDE = 1  # long sides of the photo that coordinates may lie beyond its edges, see `check_near`


def prompts_to_frame(
    *,
    shape: Shape,
    image_size: int,
    points: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Convert P prompts on a photo of `shape` (height, width) to the input frame of S = `image_size`.

    Args:
        points: (P, N, 2) xy and boxes: (P, 4) xyxy, pixels of the photo, not far outside it, see `check_near`.
        labels: (P, N), whole numbers: 1 foreground, 0 background, -1 padding, whose place does not matter.
        masks: (P, 1, S/4, S/4) logits.

    Returns:
        points and boxes float32, labels int64, masks float32.

    Raises:
        InputError: none is given; they differ in number; one has another shape, is no array of numbers, or is not finite; a
            label has no meaning; coordinates are far outside the photo.
    """
    scaled: dict[str, np.ndarray] = {}
    if labels is not None and points is None:
        raise InputError("labels are given without points; pass points (P, N, 2) with labels (P, N)")
    if points is not None:
        points, kinds = as_array(points, "points"), None if labels is None else as_array(labels, "labels")
        if points.ndim != 3 or points.shape[2] != 2 or kinds is None or kinds.shape != points.shape[:2]:
            given = None if kinds is None else kinds.shape
            raise InputError(f"points must be (P, N, 2) with labels (P, N), got {points.shape} and {given}")
        places, scaled["labels"] = check_finite(points, name="points"), check_labels(kinds)
        check_near(np.where(scaled["labels"][..., None] == PADDING, 0, places), name="points", shape=shape)
        scaled["points"] = scale_points(places, shape=shape, image_size=image_size)
    if boxes is not None:
        boxes = as_array(boxes, "boxes")
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            hint = "; for one box pass [[x0, y0, x1, y1]]" if boxes.shape == (4,) else ""
            raise InputError(f"boxes must be (P, 4) xyxy, got {boxes.shape}{hint}")
        corners = check_finite(boxes, name="boxes")
        check_near(corners.reshape(-1, 2, 2), name="boxes", shape=shape)
        scaled["boxes"] = scale_boxes(corners, shape=shape, image_size=image_size)
    if masks is not None:
        masks, side = as_array(masks, "masks"), image_size // MASK_STRIDE
        if masks.shape[1:] != (1, side, side):
            raise InputError(f"masks must be (P, 1, {side}, {side}) logits, got {masks.shape}")
        scaled["masks"] = check_finite(masks, name="masks", dtype=np.float32)
    if not scaled:
        raise InputError("no prompt given; pass points with labels, boxes, or masks")
    if len({len(value) for value in scaled.values()}) != 1:
        raise InputError(f"prompts differ in number: { {name: len(value) for name, value in scaled.items()} }")
    return scaled


def check_kinds(prompts: Any, *, number: int) -> Mapping[str, Any]:
    """Return the prompts of image `number` unchanged if they are a mapping with known keys.

    Raises:
        InputError: they are something else, or a kind is unknown; near misses are named.
    """
    if not isinstance(prompts, Mapping):
        raise InputError(f"the prompts of image {number} are a {type(prompts).__name__}; expected a dict of {', '.join(KINDS)}")
    for kind in prompts:
        if kind not in KINDS:
            hint = did_you_mean(str(kind), KINDS)
            raise InputError(f"the prompts of image {number} have an unknown kind {kind!r}{hint}; expected {', '.join(KINDS)}")
    return prompts


def check_finite(array: np.ndarray, *, name: str, dtype: Any = np.float64) -> np.ndarray:
    """Convert to an array of finite real numbers in `dtype`.

    Raises:
        InputError: it holds something else, or a value that is NaN, infinite or too large for `dtype`.
    """
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} holds {array.dtype}; expected real numbers")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    finite = np.isfinite(converted)
    if not finite.all():
        where = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise InputError(f"{name}{list(where)} is {array[where]}; expected finite numbers")
    return converted


def check_labels(labels: np.ndarray) -> np.ndarray:
    """Check point labels and return them as int64.

    Raises:
        InputError: one is none of -1, 0 and 1.
    """
    if labels.dtype.kind not in "biuf":
        raise InputError(f"labels holds {labels.dtype}; expected whole numbers: 1 foreground, 0 background, -1 padding")
    unknown = ~np.isin(labels, (PADDING, BACKGROUND, FOREGROUND))
    if unknown.any():
        given = ", ".join(str(value) for value in np.unique(labels[unknown])[:5])
        raise InputError(
            f"labels holds {given}; expected 1 (foreground), 0 (background) or -1 (padding); give boxes by `boxes`"
        )
    return labels.astype(np.int64)


def check_near(points: np.ndarray, *, name: str, shape: Shape) -> None:
    """Check that coordinates lie at most one long side outside the photo.

    The box of an object that the photo's edge cuts off reaches outside by less than that. What lies further outside is in
    other units or in pixels of another size of the photo, and SAM's code for positions, learned inside the frame, would
    answer it with something arbitrary.

    Args:
        points: (P, N, 2) xy, finite, in pixels of a photo of `shape` (height, width).

    Raises:
        InputError: one is further outside.
    """
    height, width = shape
    margin = OUTSIDE * max(shape)
    far = ((points < -margin) | (points > (width + margin, height + margin))).any(axis=(1, 2))
    if far.any():
        row = int(np.flatnonzero(far)[0])
        given = ", ".join(f"{value:.6g}" for value in points[row].ravel())
        raise InputError(
            f"{name}[{row}] is [{given}], far outside the photo of {width} x {height} (width x height); expected pixels of "
            f"this photo, at most {margin} outside it"
        )


def as_array(values: Any, name: str) -> np.ndarray:
    """Convert values to a numpy array.

    Raises:
        InputError: they cannot be made one.
    """
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; torch's tensors on a GPU, or with a gradient
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} cannot be made a numpy array ({reason}); expected an array of numbers") from error
