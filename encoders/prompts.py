"""Prompts for a photo, their validation, and their conversion to the model's input frame."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from encoders.contract import MASK_STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, scale_boxes, scale_points

KINDS = ("points", "labels", "boxes", "masks")
PADDING, BACKGROUND, FOREGROUND = -1, 0, 1  # labels of points, as segment-anything has them
OUTSIDE = 1  # long sides of the photo that coordinates may lie beyond its edges, see `check_near`

Called = Callable[..., str]  # index of a value -> how messages call it


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """P prompts for one photo, each of the kinds that are given: clicks, a box, a mask of an earlier round.

    Attributes:
        points: (P, N, 2) float xy, pixels of the photo; with labels.
        labels: (P, N) whole numbers: 1 foreground, 0 background, -1 padding, a point whose place does not matter.
        boxes: (P, 4) float xyxy, pixels of the photo.
        masks: (P, 1, S/4, S/4) float logits of an earlier round, in the input frame of S x S pixels.
    """

    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    boxes: np.ndarray | None = None
    masks: np.ndarray | None = None

    @property
    def given(self) -> dict[str, np.ndarray]:
        """The arrays that are not None, by name."""
        return {kind: array for kind in KINDS if (array := getattr(self, kind)) is not None}

    def __len__(self) -> int:
        """P."""
        return len(next(iter(self.given.values()), ()))

    def __getitem__(self, rows: slice) -> "Prompts":
        """The prompts of some rows."""
        return replace(self, **{kind: array[rows] for kind, array in self.given.items()})

    def called(self, kind: str, *index: int) -> str:
        """How messages call an array, or the value at an index of it."""
        return f"{kind}[{', '.join(map(str, index))}]" if index else kind

    def to_frame(self, *, shape: Shape, image_size: int) -> dict[str, np.ndarray]:
        """Convert prompts on a photo of `shape` (height, width) to the input frame of S = `image_size`.

        Returns:
            points and boxes float32, labels int64, masks float32.

        Raises:
            InputError: none is given; they differ in number; one has another shape, is no array of numbers, or is not finite; a
                label has no meaning; coordinates are far outside the photo, see `check_near`.
        """
        scaled: dict[str, np.ndarray] = {}
        names = {kind: partial(self.called, kind) for kind in KINDS}
        given = {kind: as_array(array, names[kind]()) for kind, array in self.given.items()}
        points, labels, boxes, masks = map(given.get, KINDS)
        if labels is not None and points is None:
            raise InputError("labels are given without points; pass points (P, N, 2) with labels (P, N)")
        if points is not None:
            if points.ndim != 3 or points.shape[2] != 2 or labels is None or labels.shape != points.shape[:2]:
                found = None if labels is None else labels.shape
                raise InputError(f"points must be (P, N, 2) with labels (P, N), got {points.shape} and {found}")
            places = check_finite(points, called=names["points"])
            scaled["labels"] = check_labels(labels, called=names["labels"], boxes=self.called("boxes"))
            near = np.where(scaled["labels"][..., None] == PADDING, 0, places)
            check_near(near, called=names["points"], shape=shape)
            scaled["points"] = scale_points(places, shape=shape, image_size=image_size)
        if boxes is not None:
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                hint = "; for one box pass [[x0, y0, x1, y1]]" if boxes.shape == (4,) else ""
                raise InputError(f"boxes must be (P, 4) xyxy, got {boxes.shape}{hint}")
            corners = check_finite(boxes, called=names["boxes"])
            check_near(corners.reshape(-1, 2, 2), called=names["boxes"], shape=shape)
            scaled["boxes"] = scale_boxes(corners, shape=shape, image_size=image_size)
        if masks is not None:
            side = image_size // MASK_STRIDE
            if masks.shape[1:] != (1, side, side):
                raise InputError(f"masks must be (P, 1, {side}, {side}) logits, got {masks.shape}")
            scaled["masks"] = check_finite(masks, called=names["masks"], dtype=np.float32)
        if not scaled:
            raise InputError("no prompt given; pass points with labels, boxes, or masks")
        if len({len(value) for value in scaled.values()}) != 1:
            raise InputError(f"prompts differ in number: { {name: len(value) for name, value in scaled.items()} }")
        return scaled


def check_prompts(given: object, *, of: str = "") -> Prompts:
    """Return prompts unchanged.

    Args:
        of: whose they are, for the message: " of image 1".

    Raises:
        InputError: they are something else, as an array or a dict; the message shows the right call.
    """
    if isinstance(given, Prompts):
        return given
    how = "Prompts(**prompts)" if isinstance(given, dict) else "Prompts(boxes=boxes) or Prompts(points=points, labels=labels)"
    raise InputError(f"the prompts{of} are a {type(given).__name__}; expected encoders.Prompts: pass {how}")


def check_finite(array: np.ndarray, *, called: Called, dtype: Any = np.float64) -> np.ndarray:
    """Convert to an array of finite real numbers in `dtype`.

    Raises:
        InputError: it holds something else, or a value that is NaN, infinite or too large for `dtype`.
    """
    if array.dtype.kind not in "iuf":
        raise InputError(f"{called()} holds {array.dtype}; expected real numbers")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    finite = np.isfinite(converted)
    if not finite.all():
        where = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise InputError(f"{called(*where)} is {array[where]}; expected finite numbers")
    return converted


def check_labels(labels: np.ndarray, *, called: Called, boxes: str) -> np.ndarray:
    """Check point labels and return them as int64.

    Raises:
        InputError: one is none of -1, 0 and 1.
    """
    if labels.dtype.kind not in "biuf":
        raise InputError(f"{called()} holds {labels.dtype}; expected whole numbers: 1 foreground, 0 background, -1 padding")
    unknown = ~np.isin(labels, (PADDING, BACKGROUND, FOREGROUND))
    if unknown.any():
        given = ", ".join(str(value) for value in np.unique(labels[unknown])[:5])
        raise InputError(
            f"{called()} holds {given}; expected 1 (foreground), 0 (background) or -1 (padding); give boxes by `{boxes}`"
        )
    return labels.astype(np.int64)


def check_near(points: np.ndarray, *, called: Called, shape: Shape) -> None:
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
            f"{called(row)} is [{given}], far outside the photo of {width} x {height} (width x height); expected pixels of "
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
