"""Quality thresholds of exported artefacts by precision. A model below them is not written."""

import math

from torch import nn

from encoders.errors import InputError
from encoders.export.certification.certificate import Thresholds

# Measured on all encoders (docs/export.md); each limit leaves room for another processor's rounding. In fp32 hardly a tensor
# can be off by 5 % unseen; the fewer the bits, the more of such errors hide behind the intended rounding.
THRESHOLDS = {
    "fp32": Thresholds(
        embedding_relative_error=5e-5,
        logits_relative_error=5e-5,
        score_max_difference=1e-4,
        iou_mean=0.9995,
        iou_min=0.99,
        iou_photo_min=0.999,
    ),
    "fp16": Thresholds(
        embedding_relative_error=4e-3,
        logits_relative_error=1e-2,
        score_max_difference=5e-3,
        iou_mean=0.998,
        iou_min=0.99,
        iou_photo_min=0.995,
    ),
    "bf16": Thresholds(
        embedding_relative_error=5e-2,
        logits_relative_error=0.2,
        score_max_difference=0.1,
        iou_mean=0.98,
        iou_min=0.9,
        iou_photo_min=0.95,
    ),
    "int8": Thresholds(
        embedding_relative_error=0.05,
        logits_relative_error=0.05,
        score_max_difference=0.05,
        iou_mean=0.99,
        iou_min=0.9,
        iou_photo_min=0.95,
    ),
    # Written to be measured, not recommended: the certificate says what is lost.
    "palette6": Thresholds(
        embedding_relative_error=0.4,
        logits_relative_error=0.6,
        score_max_difference=0.3,
        iou_mean=0.9,
        iou_min=0.3,
        iou_photo_min=0.7,
    ),
    "palette4": Thresholds(
        embedding_relative_error=1.0,
        logits_relative_error=2.0,
        score_max_difference=1.0,
        iou_mean=0.5,
        iou_min=0.0,
        iou_photo_min=0.3,
    ),
}
ALIKE = {"palette8": "int8"}  # precisions that must reach what another does
# In fp16 each layer rounds, and independent errors add up by the square root of their number: of the embedding, 2e-4 to 4.2e-4
# times that root was measured on RepViT of random weights (72 to 217 layers), up to 6e-4 on TinyViT (69); trained, half of it.
FP16_ERROR_PER_ROOT_LAYER = 6.5e-4
# Random weights draw masks whose logits are near zero over wide areas, so that rounding moves their outlines: their IoU says
# little, and logits and embeddings have to say the rest. In fp32 nothing moves. On small inputs (128 px) they round most:
# 9.4e-4 times the root of the layers for sam_demo's encoder, scores by up to 0.0076.
UNTRAINED_IOU = {"iou_mean": 0.95, "iou_min": 0.5, "iou_photo_min": 0.9}
UNTRAINED_FP16_ERROR_PER_ROOT_LAYER = 1.2e-3
UNTRAINED_FP16_SCORE = 1e-2


def least_precision(written: str, computed: str) -> str:
    """Return the precision that limits an artefact: the one it is written in or, if that is fp32, the one its runtime
    computes in."""
    return computed if written == "fp32" else written


def rounding_layers(fused: nn.Module) -> int:
    """Return the number of layers of a fused encoder that sum products and therefore round."""
    return sum(isinstance(part, (nn.Conv2d, nn.Linear)) for part in fused.modules())


def thresholds_for(precision: str, *, trained: bool = True, layers: int = 0) -> Thresholds:
    """Return the thresholds for a precision.

    Args:
        trained: False for random weights, which have looser limits below fp32.
        layers: number of layers of the encoder, see `rounding_layers`; deeper encoders have a looser limit in fp16.

    Raises:
        InputError: there are none for this precision.
    """
    name = ALIKE.get(precision, precision)
    if name not in THRESHOLDS:
        known = ", ".join([*THRESHOLDS, *ALIKE])
        raise InputError(f"no thresholds for precision {precision!r}; expected one of {known}")
    found = THRESHOLDS[name]
    if name == "fp16":
        a_layer = FP16_ERROR_PER_ROOT_LAYER if trained else UNTRAINED_FP16_ERROR_PER_ROOT_LAYER
        error = max(found.embedding_relative_error, a_layer * math.sqrt(layers))
        score = found.score_max_difference if trained else UNTRAINED_FP16_SCORE
        found = found.model_copy(update={"embedding_relative_error": error, "score_max_difference": score})
    if trained or name == "fp32":
        return found
    return found.model_copy(update={key: min(value, getattr(found, key)) for key, value in UNTRAINED_IOU.items()})
