"""What a model says of its own masks: predicted IoU against the true one, and how firmly its logits stand."""

import numpy as np
import torch

from encoders.geometry import Shape, resized_shape
from eval_zeroshot.metrics.stability import stability_scores

ECE_BINS = 10  # of equal width over predicted IoUs 0 to 1; the last one has 1 in it


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


def predicted_iou_and_stability(scores: np.ndarray, logits: np.ndarray, *, shape: Shape) -> dict[str, np.ndarray]:
    """Values for an observation: the predicted IoU and the stability of P masks; nothing of a predictor without logits.

    Stability is measured at the decoder's resolution, not the photo's, on the part of the frame that the photo covers. A mask
    that is surely empty has a stability of 1: it tells how sure the model is, and whether it is right is told by the IoU.

    Args:
        scores: (P,) predicted IoU.
        logits: (P, s, s) of a square frame with the photo in its upper left corner; s = 1 says that there are none, as of
            baselines, whose scores are no predictions either.
        shape: (height, width) of the photo.
    """
    if logits.shape[-1] <= 1:
        return {}
    height, width = resized_shape(shape, image_size=logits.shape[-1])
    inside = torch.tensor(logits[..., :height, :width])
    return {"predicted_iou": np.asarray(scores), "stability": stability_scores(inside, of_empty=1.0)}
