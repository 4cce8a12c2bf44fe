"""Which object a detector's box is of, so that its mask can be looked at beside the truth; AP does its own matching."""

import numpy as np

from encoders.samples.overlap import box_iou, mask_iou
from encoders.samples.rle import Rle, decode_segmentation
from encoders.samples.sample import Sample

LEAST_BOX_IOU = 0.5
NO_OBJECT = -1
CORNERS = ("x0", "y0", "x1", "y1")


def hit_values(
    sample: Sample, *, boxes: np.ndarray, categories: np.ndarray, scores: np.ndarray, masks: list[Rle]
) -> dict[str, list[float]]:
    """What an observation keeps of P boxes and their masks, to show them: corners, object, IoU of the mask with the object.

    Args:
        boxes: (P, 4) xyxy.
        categories: (P,).
        scores: (P,) of the detector.
        masks: P.

    Returns:
        Name -> P values: `x0`, `y0`, `x1`, `y1`; `annotation`, the id of the object or -1 where the box is of none; `mask_iou`,
        0 there.
    """
    objects = matched_objects(sample, boxes=boxes, categories=categories, scores=scores)
    ious = [
        float(mask_iou(decode_segmentation(mask, shape=sample.shape), sample.masks[index])) if index >= 0 else 0.0
        for index, mask in zip(objects, masks, strict=True)
    ]
    annotations = [float(sample.annotation_ids[index]) if index >= 0 else float(NO_OBJECT) for index in objects]
    corners = dict(zip(CORNERS, np.asarray(boxes, np.float64).reshape(-1, 4).T.tolist(), strict=True))
    return corners | {"annotation": annotations, "mask_iou": ious}


def matched_objects(sample: Sample, *, boxes: np.ndarray, categories: np.ndarray, scores: np.ndarray) -> list[int]:
    """Index of each box's object, -1 for none: best scores first, each takes the free object of its category that it overlaps
    most, if the box IoU is at least 0.5; crowds are nobody's."""
    found = [NO_OBJECT] * len(boxes)
    if not len(boxes) or not len(sample.masks):
        return found
    ious = box_iou(boxes, sample.boxes)
    ious[:, sample.crowd] = 0
    ious[np.asarray(categories)[:, None] != sample.category_ids] = 0
    for place in np.argsort(-np.asarray(scores), kind="stable"):
        best = int(ious[place].argmax())
        if ious[place, best] >= LEAST_BOX_IOU:
            found[place] = best
            ious[:, best] = 0
    return found
