"""Inputs for a Core ML model, made from its description."""

from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.export.modules.pixel_encoder import PAD_COLOUR
from encoders.export.modules.prompt_decoder import PADDING
from eval_zeroshot.latency.subjects.parts import some_points

INT32 = 131104  # `ArrayFeatureType.ArrayDataType` of Core ML's Model.proto
COORDS, LABELS = "point_coords", "point_labels"  # (P, N, 2) and (P, N), see `encoders.export.formats.coreml`
POINTS = 2  # of a prompt, if the decoder lets us choose: one point and the padding point


def inputs_of(description: Any, *, prompts: int | None, image_size: int) -> dict[str, Any]:
    """Inputs for a model's description: P prompts, an image of the padding colour, noise for any other array.

    Args:
        prompts: P of a decoder; None for an encoder.
        image_size: S in pixels, the frame of the points.

    Raises:
        InputError: the decoder does not take that many prompts, or an input is neither an image nor an array.
    """
    from PIL import Image

    found: dict[str, Any] = {}
    for feature in description.input:
        kind = feature.type.WhichOneof("Type")
        if kind == "imageType":
            size = (feature.type.imageType.width, feature.type.imageType.height)
            found[feature.name] = Image.new("RGB", size, PAD_COLOUR)
        elif kind == "multiArrayType":
            array = feature.type.multiArrayType
            if prompts is not None and feature.name in (COORDS, LABELS):
                points = points_of(array, prompts=prompts)
                coords, labels = prompts_of(prompts, points=points, image_size=image_size)
                value = coords if feature.name == COORDS else labels
            else:
                value = np.random.default_rng(0).random([max(side, 1) for side in array.shape], np.float32)
            found[feature.name] = value.astype(np.int32 if array.dataType == INT32 else np.float32)
        else:
            raise InputError(f"input {feature.name!r} of the Core ML model is a {kind}; expected an image or an array")
    return found


def prompts_of(prompts: int, *, points: int, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """`some_points` with N points in each prompt: (P, N, 2) and (P, N), filled up with padding points."""
    given, kinds = some_points(prompts, image_size=image_size)
    coords, labels = np.zeros((prompts, points, 2), np.float32), np.full((prompts, points), PADDING, np.int64)
    kept = min(points, given.shape[1])
    coords[:, :kept], labels[:, :kept] = given[:, :kept], kinds[:, :kept]
    return coords, labels


def points_of(array: Any, *, prompts: int) -> int:
    """N, the points in each prompt, for P prompts: the allowed number that comes nearest to `POINTS`.

    Args:
        array: Core ML's `ArrayFeatureType` of coords (P, N, 2) or labels (P, N), whose shape may be fixed, one of a list, or
            of axes with ranges.

    Raises:
        InputError: the decoder does not take that many prompts.
    """
    flexibility = array.WhichOneof("ShapeFlexibility")
    if flexibility == "shapeRange":
        (low, high), (fewest, most) = ((one.lowerBound, one.upperBound) for one in array.shapeRange.sizeRanges[:2])
        if low <= prompts and (high < 0 or prompts <= high):  # a negative bound is no bound
            return max(fewest, POINTS) if most < 0 else min(max(fewest, POINTS), most)
        takes = f"{low} to {high}" if high >= 0 else f"{low} or more"
    else:
        shapes = [one.shape for one in array.enumeratedShapes.shapes] if flexibility == "enumeratedShapes" else [array.shape]
        fitting = [shape[1] for shape in shapes if shape[0] == prompts]
        if fitting:
            return int(min(fitting, key=lambda points: (abs(points - POINTS), points)))
        takes = ", ".join(str(count) for count in sorted({int(shape[0]) for shape in shapes}))
    raise InputError(
        f"--prompts {prompts}: this Core ML decoder takes {takes} in a call; give that number, or export the model with "
        f"--format coreml --prompts {prompts} and time that folder"
    )
