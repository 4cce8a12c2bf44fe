"""A model's masks at points, as run lengths, each with its box, predicted IoU and stability."""

from dataclasses import dataclass

import numpy as np
import torch

from encoders.contract import MASK_STRIDE
from encoders.geometry import Shape
from encoders.sam import upscale_logits
from encoders.samples.rle import Rle, encode_mask
from eval_zeroshot.metrics.stability import stability_scores
from eval_zeroshot.predictors.protocol import MASK_PIXELS_PER_CALL, PredictorLike, ask, prompts_per_call
from eval_zeroshot.prompting.clicks import point_prompts
from eval_zeroshot.prompting.point_grid import mask_boxes
from eval_zeroshot.suites.everything.settings import MaskSettings


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One mask of one point.

    Attributes:
        point: index of the point in the grid.
        rle: the mask.
        box: xyxy of the first and last pixels, both inclusive, as segment-anything has it.
        area: pixels.
        score: predicted IoU.
        stability: IoU of the masks at a threshold higher and lower by the offset.
        covers: indices of the grid's points that lie on the mask.
    """

    point: int
    rle: Rle
    box: tuple[float, float, float, float]
    area: int
    score: float
    stability: float
    covers: np.ndarray


def ask_points(
    predictor: PredictorLike, points: np.ndarray, *, chosen: np.ndarray, shape: Shape, settings: MaskSettings
) -> list[Candidate]:
    """The three masks of each chosen point, asked alone, that pass the quality thresholds and have a pixel.

    Memory: full masks and logits for some prompts at a time only; what is returned is run lengths.

    Args:
        predictor: has the photo set.
        points: (N, 2) xy of the whole grid in pixels of the photo.
        chosen: (P,) indices of the points to ask.
        shape: (height, width) of the photo.
    """
    pixels = np.floor(points).astype(np.int64)  # the pixel that each point lies in
    device = getattr(getattr(predictor, "sam", None), "device", "cpu")
    step, found = prompts_per_call(predictor, shape), []
    for start in range(0, len(chosen), step):
        part = chosen[start : start + step]
        masks, scores, logits = ask(predictor, point_prompts(points[part]), shape=shape, multimask=True)
        good = np.asarray(masks.any(axis=(2, 3)))
        if settings.pred_iou_thresh > 0:
            good &= scores > settings.pred_iou_thresh
        row, token = np.nonzero(good)
        if not len(row):
            continue
        stability = photo_stability(
            logits[row, token], shape=shape, offset=settings.stability_score_offset, device=device
        )
        kept = np.flatnonzero(stability >= settings.stability_score_thresh)
        masks = masks[row[kept], token[kept]]
        if not len(kept):
            continue
        boxes = mask_boxes(masks)
        covers = masks[:, pixels[:, 1], pixels[:, 0]]
        for index, number in enumerate(kept):
            found.append(
                Candidate(
                    point=int(part[row[number]]),
                    rle=encode_mask(masks[index]),
                    box=tuple(boxes[index].tolist()),
                    area=int(masks[index].sum()),
                    score=float(scores[row[number], token[number]]),
                    stability=float(stability[number]),
                    covers=np.flatnonzero(covers[index]),
                )
            )
    return found


def photo_stability(
    logits: np.ndarray, *, shape: Shape, offset: float, device: torch.device | str = "cpu"
) -> np.ndarray:
    """`stability_scores` at the photo's resolution.

    A mask with no pixel above the lower cut gets 0, so that it is dropped; segment-anything drops it too, as NaN passes no
    threshold.

    Args:
        logits: (N, S/4, S/4); of 1 x 1 logits, which a predictor without any answers, the stability is 1.
        shape: (height, width) of the photo.

    Returns:
        (N,) float32, 0 to 1.
    """
    if logits.shape[-1] == 1:
        return np.ones(len(logits), np.float32)
    image_size = logits.shape[-1] * MASK_STRIDE
    step = max(1, MASK_PIXELS_PER_CALL // max(image_size**2, shape[0] * shape[1]))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(logits), step):
            chunk = torch.from_numpy(logits[start : start + step, None]).to(device)
            full = upscale_logits(chunk, shape=shape, image_size=image_size)[:, 0]
            parts.append(stability_scores(full, of_empty=0.0, offset=offset).astype(np.float32))
    return np.concatenate(parts)
