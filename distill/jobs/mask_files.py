"""The files of `repvit-sam masks`: one JSON per photo in SA-1B's format, and pictures with the masks drawn in."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from encoders.errors import InputError
from encoders.files import atomic_path
from encoders.untrusted import read_json
from eval_zeroshot.report.contact_sheet import paint_masks

ID_BITS = 48  # of a photo's number; a mask's number has 14 bits more, for up to 4096 points with three masks each
MAX_BYTES = 2**28  # of a photo's masks; 4096 points give some 10 MB
OVERLAY_PIXELS = 1600  # long side of a picture with masks
OPTIONS = {  # of `repvit-sam masks`, by the name a file keeps them under
    "image_size": "--image-size",
    "budget": "--budget",
    "points_per_side": "--points",
    "pred_iou_thresh": "--min-iou",
    "stability_score_thresh": "--min-stability",
    "box_nms_thresh": "--nms",
    "min_mask_region_area": "--min-area",
}


def sa1b_record(records: list[dict[str, Any]], *, name: str, image: np.ndarray) -> dict[str, Any]:
    """Convert the masks of one photo to SA-1B's annotation format.

    SA-1B numbers photos and masks; here the numbers come from the photo's name, so that they stay when photos are added.
    """
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[: ID_BITS // 8], "big")
    facts = {"image_id": number, "width": int(image.shape[1]), "height": int(image.shape[0]), "file_name": name}
    return {"image": facts, "annotations": [{"id": (number << 14) + i, **record} for i, record in enumerate(records)]}


def write_overlay(path: Path, image: np.ndarray, annotations: list[dict[str, Any]]) -> None:
    """Write a photo (H, W, 3) uint8 RGB with its masks as coloured areas, the largest below, as a JPEG."""
    largest_first = sorted(annotations, key=lambda one: -one["area"])
    masks = [coco_mask.decode(one["segmentation"]).astype(bool) for one in largest_first]
    height, width = image.shape[:2]
    scale = min(1.0, OVERLAY_PIXELS / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = paint_masks(image, np.stack(masks) if masks else np.zeros((0, height, width), bool), size=size)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="JPEG", quality=90)


def kept_record(path: Path, maker: dict[str, Any]) -> dict[str, Any] | None:
    """Read an earlier call's record of a photo; None if it has no masks and was made with other settings.

    Raises:
        InputError: the file is not of this command, or its masks were made otherwise.
    """
    content = read_json(path, max_bytes=MAX_BYTES)
    try:
        other, annotations = dict(content["generator"]), list(content["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not of this command; expected masks that it has written. Choose another folder") from error
    known = [name for name in maker if name != "image_sha256" or name in other]  # earlier versions did not keep it
    differ = [name for name in known if other.get(name) != maker[name]]
    if differ and not annotations:
        return None
    if differ:
        changes = ", ".join(f"{OPTIONS.get(name, name)} {other.get(name)} there and {maker[name]} now" for name in differ)
        raise InputError(
            f"{path} was made otherwise: {changes}. Give --out another folder, or delete the file to make only this photo anew"
        )
    return {"annotations": annotations}
