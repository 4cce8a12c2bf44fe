"""Annotations of any source in the one form that the cache stores: COCO instances with checked RLE masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.rle import to_rle

SA1B_FIELDS = ("predicted_iou", "stability_score", "point_coords", "crop_box")


def normalize_annotations(annotations: Any, *, shape: Shape, where: str) -> list[dict[str, Any]]:
    """Check instances and bring their masks to RLE, without decoding a mask.

    Args:
        annotations: COCO or SA-1B instances; `segmentation` is polygons or RLE.
        shape: (height, width) of the photo in pixels.
        where: what to call the photo in an error.

    Returns:
        One dict an instance: `id`, `category_id` (0 where there is none), `iscrowd`, `area` in pixels, `bbox` as
        x, y, width, height in pixels, `segmentation` as RLE, and SA-1B's own fields where given.

    Raises:
        InputError: names the photo and the annotation.
    """
    if not isinstance(annotations, Sequence) or isinstance(annotations, (str, bytes)):
        raise InputError(f"{where}: annotations are a {type(annotations).__name__}, expected a list")
    out = []
    for index, annotation in enumerate(annotations):
        try:
            out.append(_normalize(annotation, index=index, shape=shape))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            detail = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            raise InputError(f"{where}: annotation {index}: {detail}") from error
    return out


def _normalize(annotation: dict[str, Any], *, index: int, shape: Shape) -> dict[str, Any]:
    rle = to_rle(annotation["segmentation"], shape=shape)
    box = annotation["bbox"] if "bbox" in annotation else coco_mask.toBbox(rle).tolist()
    area = annotation["area"] if "area" in annotation else float(coco_mask.area(rle))
    box = [float(number) for number in box]
    if len(box) != 4 or not np.isfinite([*box, area]).all():
        raise ValueError(f"bbox {box} and area {area} must be four numbers and one, all finite")
    return {
        "id": int(annotation.get("id", index)),
        "category_id": int(annotation.get("category_id", 0)),
        "iscrowd": int(annotation.get("iscrowd", 0)),
        "area": float(area),
        "bbox": box,
        "segmentation": rle,
    } | {name: annotation[name] for name in SA1B_FIELDS if name in annotation}
