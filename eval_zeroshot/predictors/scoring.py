"""Answers beside the true masks, for suites that need of most masks only the IoU.

On a GPU the masks are compared where they are, and one mask a prompt is brought to the host. On the CPU, and for predictors
that are not ours, they are compared here.
"""

from typing import TypeGuard

import numpy as np

from encoders.geometry import Shape
from encoders.predictor import Predictor
from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from encoders.scored import ScoredPrediction, predict_scored
from eval_zeroshot.predictors.protocol import PredictorLike, ask, ask_single_and_three, device_type


def ask_scored(
    predictor: PredictorLike, prompts: Prompts, *, truths: np.ndarray, shape: Shape, multimask: bool, only_kept: bool = False
) -> ScoredPrediction:
    """What `ask` answers, compared with the true masks (P, H, W) bool; the most confident mask of each prompt is kept.

    Args:
        only_kept: whether the IoU of the masks that are kept is enough.
    """
    if _scores_itself(predictor):
        return predict_scored(predictor, prompts, truths, multimask=multimask)
    masks, scores, logits = ask(predictor, prompts, shape=shape, multimask=multimask)
    each, kept = np.arange(len(masks)), scores.argmax(axis=1)
    best = masks[each, kept]
    ious = mask_iou(best, truths)[:, None] if only_kept else mask_iou(masks, truths[:, None])
    return ScoredPrediction(ious=ious, scores=scores, kept=kept, masks=best, logits=logits[each, kept])


def ask_tokens_scored(predictor: PredictorLike, prompts: Prompts, *, truths: np.ndarray, shape: Shape) -> ScoredPrediction:
    """What `ask_single_and_three` answers as M = 4, compared with the true masks; the single mask, token 0, is kept."""
    if _scores_itself(predictor):
        return predict_scored(predictor, prompts, truths, multimask=None)
    (single, score, logits), (three, scores, _) = ask_single_and_three(predictor, prompts, shape=shape)
    ious = [mask_iou(masks, truths[:, None]) for masks in (single, three)]
    return ScoredPrediction(
        ious=np.concatenate(ious, axis=1),
        scores=np.concatenate([score, scores], axis=1),
        kept=np.zeros(len(single), np.int64),
        masks=single[:, 0],
        logits=logits[:, 0],
    )


def _scores_itself(predictor: PredictorLike) -> TypeGuard[Predictor]:
    """Whether a predictor's masks are on another device than the CPU, which compares them faster as numpy arrays."""
    return isinstance(predictor, Predictor) and device_type(predictor) != "cpu"
