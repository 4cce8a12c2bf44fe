"""From an object's mask in one frame to its prompts in the next."""

from dataclasses import replace
from typing import Any

import numpy as np

from encoders.contract import MASK_STRIDE
from encoders.geometry import mask_box, resize_image, resized_shape
from encoders.prompts import Prompts
from eval_zeroshot.predictors.protocol import PredictorLike, ask, prompts_per_call
from eval_zeroshot.prompting.clicks import centre_point, click_prompts

BOX_MARGIN = 0.1  # of the box's width and height on each side: room to move and grow; SAM was trained on boxes off by as much
LOGIT = 10.0  # of a mask fed back as a prompt, minus that outside: as sure as a model is of a clear mask


def next_prompts(masks: np.ndarray, *, image_size: int | None) -> Prompts:
    """Prompts for P objects by their masks in the frame before.

    Args:
        masks: (P, H, W) bool, none empty.
        image_size: S of the predictor; None for one that takes no masks.

    Returns:
        boxes (P, 4) xyxy, a little larger than the masks' and within the frame; points (P, 1, 2) xy with labels (P, 1), each
        mask's pixel farthest from its boundary; masks (P, 1, S/4, S/4) logits where there is an S.
    """
    height, width = masks.shape[1:]
    boxes = np.stack([mask_box(mask) for mask in masks])
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes += BOX_MARGIN * np.concatenate([-sides, sides], axis=1)
    logits = None if image_size is None else np.stack([mask_logits(mask, image_size=image_size) for mask in masks])[:, None]
    within = boxes.clip(0, [width, height, width, height]).astype(np.float32)
    return replace(click_prompts([[centre_point(mask)] for mask in masks]), boxes=within, masks=logits)


def mask_logits(mask: np.ndarray, *, image_size: int) -> np.ndarray:
    """(H, W) bool -> (S/4, S/4) float32 logits in the input frame, -LOGIT to LOGIT by the share of a pixel that is mask."""
    side = image_size // MASK_STRIDE
    height, width = resized_shape((mask.shape[0], mask.shape[1]), image_size=side)
    grey = np.repeat(np.asarray(mask, np.uint8)[..., None] * 255, 3, axis=2)
    logits = np.full((side, side), -LOGIT, np.float32)
    logits[:height, :width] = LOGIT * (2 * resize_image(grey, image_size=side)[..., 0].astype(np.float32) / 255 - 1)
    return logits


def follow(predictor: PredictorLike, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The objects of the frame before in the frame that the predictor has set.

    Args:
        masks: (P, H, W) bool of the frame before; an empty one stays empty, as there is nothing to prompt with.

    Returns:
        masks (P, H, W) bool, no two of them on one pixel, where that of the higher predicted IoU wins; predicted IoUs (P,).
    """
    shape = (masks.shape[1], masks.shape[2])
    found, scores = np.zeros_like(masks), np.zeros(len(masks))
    seen = np.flatnonzero(masks.any(axis=(1, 2)))
    size: Any = getattr(predictor, "image_size", None)
    for start in range(0, len(seen), step := prompts_per_call(predictor, shape)):
        chosen = seen[start : start + step]
        answers, ious, _ = ask(predictor, next_prompts(masks[chosen], image_size=size), shape=shape, multimask=False)
        found[chosen], scores[chosen] = answers[:, 0], ious[:, 0]
    taken = np.zeros(shape, bool)
    for place in np.argsort(-scores, kind="stable"):
        found[place] &= ~taken
        taken |= found[place]
    return found, scores
