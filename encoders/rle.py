"""Masks to COCO's run-length encoding and back, by pycocotools."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from encoders.errors import InputError
from encoders.geometry import Shape


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> {"size": [H, W], "counts": str}, fit for json."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode_segmentation(segmentation: Any, *, shape: Shape) -> np.ndarray:
    """COCO polygons, or RLE compressed or not -> (H, W) bool.

    Raises:
        InputError: the segmentation is malformed or belongs to an image of another size.
    """
    height, width = shape
    try:
        if isinstance(segmentation, list):
            rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            rle = coco_mask.frPyObjects(segmentation, *segmentation["size"])
        else:
            rle = segmentation
        size = tuple(rle["size"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"malformed segmentation ({type(error).__name__}: {error})") from error
    if size != shape:
        raise InputError(f"segmentation is of an image of {size}, this image is {shape} (height, width)")
    return coco_mask.decode(rle).astype(bool)
