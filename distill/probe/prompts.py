"""The prompts of a probe's photo: objects of its annotations, or a grid of points."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoders.geometry import Shape, mask_box, scale_boxes, scale_points
from encoders.samples.rle import decode_segmentation
from eval_zeroshot.prompting.clicks import centre_point
from eval_zeroshot.prompting.point_grid import point_grid

LEAST_PIXELS = 16.0  # of an annotated object, in pixels of the stored photo: a cell of the decoder's masks


@dataclass(frozen=True)
class PhotoPrompts:
    """K prompts on one photo, in pixels of the input frame.

    Attributes:
        points: (K, 2) float32 xy.
        boxes: (K, 4) float32 xyxy, 0 where `drawn`.
        drawn: the boxes are to be drawn by the teacher, from its masks for the points.
    """

    points: np.ndarray
    boxes: np.ndarray
    drawn: bool


def prompts_of(record: Mapping[str, Any], *, image_size: int, most: int) -> PhotoPrompts:
    """Return at most `most` prompts for a sample's `KEY.json`.

    Of annotated objects, crowds left out, small and large ones are taken alike: at equal distances in the order of their
    areas. The point of an object is its pixel farthest from its boundary. Without objects the points are a grid's.
    """
    shape = (int(record["height"]), int(record["width"]))
    return _annotated(record, shape, image_size, most) or _grid(shape, image_size, most)


def _annotated(record: Mapping[str, Any], shape: Shape, image_size: int, most: int) -> PhotoPrompts | None:
    scale = image_size / max(shape)
    annotated = record.get("annotations") or []
    objects = [one for one in annotated if not one.get("iscrowd") and one["area"] * scale**2 >= LEAST_PIXELS]
    objects.sort(key=lambda one: (one["area"], one["id"]))
    ranks = np.unique(np.linspace(0, len(objects) - 1, min(most, len(objects))).round().astype(int))
    masks = [decode_segmentation(objects[rank]["segmentation"], shape=shape) for rank in ranks]
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        return None
    points = np.array([centre_point(mask)[:2] for mask in masks])
    boxes = np.stack([mask_box(mask) for mask in masks])
    return PhotoPrompts(
        points=scale_points(points, shape=shape, image_size=image_size),
        boxes=scale_boxes(boxes, shape=shape, image_size=image_size),
        drawn=False,
    )


def _grid(shape: Shape, image_size: int, most: int) -> PhotoPrompts:
    points = point_grid(shape, per_side=math.ceil(math.sqrt(most)))
    chosen = np.linspace(0, len(points) - 1, most).round().astype(int) if most > 1 else np.array([len(points) // 2])
    scaled = scale_points(points[chosen], shape=shape, image_size=image_size)
    return PhotoPrompts(points=scaled, boxes=np.zeros((most, 4), np.float32), drawn=True)
