"""What an artefact of a precision must reach. A model that falls below is not written."""

from encoders.errors import InputError
from encoders.export.certificate import Thresholds

# Measured on sam_demo and students of RepViT and TinyViT (docs/export.md); each limit leaves room for another processor's
# rounding, and none for a tensor that is off by 5 %.
THRESHOLDS = {
    "fp32": Thresholds(embedding_relative_error=1e-4, iou_mean=0.9995, iou_min=0.99, iou_photo_min=0.999),
    "fp16": Thresholds(embedding_relative_error=5e-3, iou_mean=0.998, iou_min=0.99, iou_photo_min=0.995),
    "bf16": Thresholds(embedding_relative_error=5e-2, iou_mean=0.98, iou_min=0.9, iou_photo_min=0.95),
    "int8": Thresholds(embedding_relative_error=1e-1, iou_mean=0.99, iou_min=0.9, iou_photo_min=0.95),
}


def thresholds_for(precision: str) -> Thresholds:
    """The thresholds of a precision; those that are not named here have int8's.

    Raises:
        InputError: no precision.
    """
    if not precision:
        raise InputError("no precision given")
    return THRESHOLDS.get(precision, THRESHOLDS["int8"])
