"""What a model says of its own masks: predicted IoU against the true one, and how firmly its logits stand."""

import numpy as np

from encoders.contract import MASK_THRESHOLD
from encoders.geometry import Shape, resized_shape

ECE_BINS = 10  # of equal width over predicted IoUs 0 to 1; the last one has 1 in it
STABILITY_OFFSET = 1.0  # logits either side of the threshold, as in segment-anything's automatic mask generator


def expected_calibration_error(predicted: np.ndarray, true: np.ndarray, *, bins: int = ECE_BINS) -> float | None:
    """Expected calibration error of P predicted IoUs (P,) against the true ones (P,); None for no prediction.

    Predictions are cut to [0, 1] and sorted into `bins` bins of equal width; the error is the distance between the mean
    prediction and the mean true IoU of each bin, weighted by its share of the predictions. (Guo et al., arXiv:1706.04599, with
    the IoU in place of accuracy.)
    """
    predicted = np.clip(np.asarray(predicted, np.float64), 0, 1)
    if predicted.size == 0:
        return None
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    excess = np.bincount(place, weights=predicted - np.asarray(true, np.float64), minlength=bins)
    return float(np.abs(excess).sum() / predicted.size)


def stability_scores(logits: np.ndarray, *, shape: Shape, offset: float = STABILITY_OFFSET) -> np.ndarray:
    """IoU of a mask cut at logits `offset` above the threshold with the same cut `offset` below it.

    As segment-anything's `calculate_stability_score`, but at the decoder's resolution instead of the photo's, and of the part
    of the frame that the photo covers. Where not even the lower cut has a pixel, both are empty and agree: 1.0 (NaN there).

    Args:
        logits: (..., s, s) of a square frame with the photo in its upper left corner.
        shape: (height, width) of the photo.

    Returns:
        (...) float64.
    """
    height, width = resized_shape(shape, image_size=logits.shape[-1])
    inside = logits[..., :height, :width]
    firm = (inside > MASK_THRESHOLD + offset).sum(axis=(-2, -1), dtype=np.int64)
    loose = (inside > MASK_THRESHOLD - offset).sum(axis=(-2, -1), dtype=np.int64)
    return np.where(loose == 0, 1.0, firm / np.maximum(loose, 1))


def own_words(scores: np.ndarray, logits: np.ndarray, *, shape: Shape) -> dict[str, np.ndarray]:
    """Values for an observation: the predicted IoU and the stability of P masks; nothing of a predictor without logits.

    Args:
        scores: (P,) predicted IoU.
        logits: (P, s, s); s = 1 says that there are none, as of baselines, whose scores are no predictions either.
        shape: (height, width) of the photo.
    """
    if logits.shape[-1] <= 1:
        return {}
    return {"predicted_iou": np.asarray(scores), "stability": stability_scores(logits, shape=shape)}
