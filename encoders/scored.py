"""Masks that are compared with the true ones on the device that made them, so that one mask a prompt goes to the host."""

from dataclasses import dataclass

import numpy as np
import torch

from encoders.errors import InputError
from encoders.predictor import Predictor
from encoders.prompts import Prompts, check_prompts
from encoders.samples.overlap import iou_of_counts
from encoders.transfer import fetched, sent


@dataclass(frozen=True, kw_only=True)
class ScoredPrediction:
    """A predictor's masks for P prompts beside the true ones; M as in `encoders.Prediction`.

    Attributes:
        ious: (P, M) float64, with the true mask; (P, 1) where only that of the kept mask was asked for.
        scores: (P, M) float32, predicted IoU.
        kept: (P,) the number of the mask that is kept.
        masks: (P, H, W) bool, those kept.
        logits: (P, S/4, S/4) float32, of those kept.
    """

    ious: np.ndarray
    scores: np.ndarray
    kept: np.ndarray
    masks: np.ndarray
    logits: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """(P,) of the kept masks."""
        return self.ious[:, 0] if self.ious.shape[1] == 1 else self.ious[np.arange(len(self.ious)), self.kept]

    @property
    def score(self) -> np.ndarray:
        """(P,) of the kept masks."""
        return self.scores[np.arange(len(self.scores)), self.kept]


@torch.inference_mode()
def predict_scored(predictor: Predictor, prompts: Prompts, truths: np.ndarray, *, multimask: bool | None) -> ScoredPrediction:
    """Predict masks on the image that is set and compare them with (P, H, W) bool, by one transfer to the host.

    Args:
        multimask: None gives all four tokens and keeps the single mask, token 0; else the most confident mask is kept.

    Raises:
        InputError: the true masks are not P of the image's size; or as `Predictor.predict`.
    """
    device, shape = predictor.sam.device, predictor.shape
    if truths.shape != (len(prompts), *shape):
        raise InputError(f"true masks of {truths.shape} are given; expected {(len(prompts), *shape)}: prompts, height, width")
    framed = check_prompts(prompts).to_frame(shape=shape, image_size=predictor.image_size)
    given = {name: sent(value, device) for name, value in framed.items()}
    masks, scores, logits = predictor.predict_torch(multimask=multimask, **given)
    truth = sent(truths, device)[:, None]
    overlap = (masks & truth).sum(dim=(-2, -1), dtype=torch.int32)
    union = masks.sum(dim=(-2, -1), dtype=torch.int32) + truth.sum(dim=(-2, -1), dtype=torch.int32) - overlap
    each = torch.arange(len(masks), device=device)
    kept = torch.zeros_like(each) if multimask is None else scores.argmax(dim=1)
    counts = (overlap, union, kept.int(), scores.float(), logits[each, kept].float(), masks[each, kept])
    overlaps, unions, numbers, confidences, kept_logits, kept_masks = fetched(counts)
    return ScoredPrediction(
        ious=iou_of_counts(overlaps, unions), scores=confidences, kept=numbers, masks=kept_masks, logits=kept_logits
    )
