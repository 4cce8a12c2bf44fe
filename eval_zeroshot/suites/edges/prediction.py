"""A method's edges on one photo, as the benchmark reads them: strength to be thresholded, or ready segmentations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import scipy.io
from PIL import Image

from encoders.errors import InputError
from encoders.geometry import Shape
from eval_zeroshot.datasets.bsds import UNREADABLE

THRESHOLDS = 99
SUFFIXES = (".png", ".mat")


class EdgePrediction(Protocol):
    """Boundary maps at T levels."""

    @property
    def shape(self) -> Shape:
        """(height, width)."""

    @property
    def levels(self) -> np.ndarray:
        """(T,) float64."""

    def boundary(self, index: int) -> np.ndarray:
        """(H, W) bool at level `index`, not thinned."""


@dataclass(frozen=True)
class EdgeStrength:
    """(H, W) float64 strength in [0, 1]; a pixel is boundary where it reaches the level.

    Levels are k / (T + 1), computed as MATLAB's `linspace` does, since 8-bit strengths meet some of them exactly.
    """

    strength: np.ndarray
    thresholds: int = THRESHOLDS

    @property
    def shape(self) -> Shape:
        return self.strength.shape[0], self.strength.shape[1]

    @property
    def levels(self) -> np.ndarray:
        count = self.thresholds
        first, last = 1 / (count + 1), 1 - 1 / (count + 1)
        return first + np.arange(count) * (last - first) / max(1, count - 1)

    def boundary(self, index: int) -> np.ndarray:
        return np.asarray(self.strength >= self.levels[index])


@dataclass(frozen=True)
class EdgeSegmentations:
    """T segmentations, (H, W) integer labels each; level k is the k-th, counted from 1."""

    segmentations: tuple[np.ndarray, ...]

    @property
    def shape(self) -> Shape:
        return self.segmentations[0].shape[0], self.segmentations[0].shape[1]

    @property
    def levels(self) -> np.ndarray:
        return np.arange(1, len(self.segmentations) + 1, dtype=np.float64)

    def boundary(self, index: int) -> np.ndarray:
        return region_boundary(self.segmentations[index])


def region_boundary(labels: np.ndarray) -> np.ndarray:
    """(H, W) labels -> (H, W) bool: where a pixel's square with its right, lower and diagonal neighbour has two labels.

    The last row looks only to the right and the last column only down, as in the benchmark's `seg2bdry` at image size.
    Thinned, these are the `Boundaries` that BSDS500 has for each annotator's `Segmentation`.
    """
    boundary = np.zeros(labels.shape, bool)
    below, right = labels[:-1] != labels[1:], labels[:, :-1] != labels[:, 1:]
    boundary[:-1, :-1] = below[:, :-1] | below[:, 1:] | right[:-1] | right[1:]
    boundary[-1, :-1] = right[-1]
    boundary[:-1, -1] = below[:, -1]
    return boundary


def read_prediction(path: Path, *, thresholds: int = THRESHOLDS) -> EdgePrediction:
    """Read an 8-bit greyscale PNG, or a `.mat` with `ucm2` (gPb's contours at double size) or `segs` (a cell of labels).

    Args:
        thresholds: number of levels; segmentations bring their own.

    Raises:
        InputError: the file is none of these.
    """
    return _read_mat(path, thresholds) if path.suffix.lower() == ".mat" else _read_png(path, thresholds)


def _read_png(path: Path, thresholds: int) -> EdgeStrength:
    try:
        with Image.open(path) as image:
            mode, grey = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no readable PNG ({type(error).__name__}: {error})") from error
    if mode != "L":
        raise InputError(f"{path} is a PNG of mode {mode}; expected one channel of 8 bits, 255 the strongest edge")
    return EdgeStrength(grey / 255.0, thresholds)


def _read_mat(path: Path, thresholds: int) -> EdgePrediction:
    try:
        content = scipy.io.loadmat(str(path))
        if "ucm2" in content:
            doubled = np.asarray(content["ucm2"], np.float64)
            if doubled.ndim != 2 or not (doubled.min(initial=0) >= 0 and doubled.max(initial=0) <= 1):
                raise ValueError(f"ucm2 of shape {doubled.shape} must be two-dimensional, all of it from 0 to 1")
            return EdgeStrength(doubled[2::2, 2::2], thresholds)
        segmentations = tuple(np.asarray(labels) for labels in content["segs"].ravel())
        shapes = {labels.shape for labels in segmentations}
        if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes) or any(s.dtype.kind not in "uif" for s in segmentations):
            raise ValueError(f"segs of shapes {sorted(shapes, key=str)} must be label images of one size")
    except UNREADABLE as error:
        what = "expected `ucm2` or `segs`, saved as MATLAB version 7 or older"
        raise InputError(f"{path} holds no edges ({type(error).__name__}: {error}); {what}") from error
    if not segmentations:
        raise InputError(f"{path} has an empty cell `segs`; expected at least one segmentation")
    return EdgeSegmentations(segmentations)
