"""The recipe "jitter" of views: a random scale, place and mirroring, with the annotations of what can be seen.

A view's window is a function of (seed, key of the photo, number of the view, size of the photo) and of the recipe's range of
scales. `KEY.json` states it, and the annotations in the view: the masks cropped and mirrored exactly, boxes and areas of what
is visible. Any change of what this file computes is another recipe and needs another NAME, which is part of a cache's identity.

A scale of 2 shows the photo's objects at twice their size: the view is half of each side. There are no scales below 1: the
stored photo's longer side always fills the input frame, as in SAM's preprocessing, which a photo shrunk on a canvas would not.
"""

import math
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.samples.rle_crop import VisibleMask, Window, crop_rles
from shards.sources.base import short_hash

NAME = "jitter1"
ASPECT = 1.25  # largest change of the photo's aspect, either way
MIN_PIXELS = 64  # of the photo: an object of which less can be seen is left out,
MIN_SHARE = 0.2  # and so is one of which a smaller share can be seen
KEPT = ("id", "category_id", "iscrowd", "predicted_iou", "stability_score")
WORD = 2**32

Scale = tuple[float, float]


def check_scale(scale: Scale) -> Scale:
    """Return a range of scales, smallest first, if it can be used.

    Raises:
        InputError: it begins below 1 or ends below its start.
    """
    if not 1 <= scale[0] <= scale[1] < math.inf:
        raise InputError(f"a scale of views of {list(scale)}; expected a range like [1.0, 2.5], from 1, the whole photo, on")
    return scale


def jittered_window(shape: Shape, *, seed: int, key: str, view: int, scale: Scale) -> Window:
    """Return the window of view `view` of the photo with this key and (height, width)."""
    # numpy keeps the stream of RandomState (NEP 19), so that a cache can be verified and repaired with every release.
    random = np.random.RandomState([seed % WORD, seed // WORD, int(short_hash(key), 16), view])
    size, aspect, down, right, mirror = random.random_sample(5).tolist()
    share = math.exp(-between(math.log(scale[0]), math.log(scale[1]), size))
    stretch = math.exp(between(-math.log(ASPECT), math.log(ASPECT), aspect) / 2)
    height = max(1, round(shape[0] * min(1.0, share * stretch)))
    width = max(1, round(shape[1] * min(1.0, share / stretch)))
    top, left = int(down * (shape[0] - height + 1)), int(right * (shape[1] - width + 1))
    return Window(top=top, left=left, height=height, width=width, mirror=mirror < 0.5)


def visible_annotations(annotations: list[dict[str, Any]], window: Window) -> list[dict[str, Any]]:
    """Return the annotations of the objects that a window shows, in pixels of the window.

    Each has the fields of `encoders.samples.coco.normalize_instance` and `visible`, the share of the object's pixels that is
    in the view. Of SA-1B's fields the qualities of the mask are kept, and those points of its prompt that are in the view.
    """
    seen = crop_rles([annotation["segmentation"] for annotation in annotations], window)
    return [
        _moved(annotation, mask, window)
        for annotation, mask in zip(annotations, seen, strict=True)
        if mask is not None and mask.area >= max(MIN_PIXELS, MIN_SHARE * mask.whole_area)
    ]


def _moved(annotation: dict[str, Any], mask: VisibleMask, window: Window) -> dict[str, Any]:
    moved = {name: annotation[name] for name in KEPT if name in annotation}
    moved |= {"area": float(mask.area), "bbox": [float(side) for side in mask.box], "segmentation": mask.rle}
    moved["visible"] = round(mask.area / mask.whole_area, 4)
    points = [_moved_point(x, y, window) for x, y in annotation.get("point_coords", ())]
    inside = [[x, y] for x, y in points if 0 <= x < window.width and 0 <= y < window.height]
    return moved | ({"point_coords": inside} if inside else {})


def _moved_point(x: float, y: float, window: Window) -> tuple[float, float]:
    """Return a point of the photo in pixels of the window; the edges of the photo are at 0 and at its width."""
    x -= window.left
    return (window.width - x if window.mirror else x), y - window.top


def between(low: float, high: float, share: float) -> float:
    """Return the number at a share of the way between two others."""
    return low + share * (high - low)
