"""Masks on the two grids that EdgeSAM's evaluation works on: a 1024 px frame, and the decoder's 256 x 256 cells of it.

Both have the photo in the upper left corner, its long side as long as the grid's. Source: EdgeSAM, `evaluation/eval_mIoU.py`
and `edge_sam/utils/common.py` (`sample_point_in_mask`).
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from encoders.contract import MASK_THRESHOLD
from encoders.geometry import Shape, resized_shape, unscale_points
from eval_zeroshot.prompting.clicks import BACKGROUND, FOREGROUND, NO_CLICK, Click, deepest_pixel

FRAME, CELLS = 1024, 256
FEWEST_ERRORS = 10  # cells; with fewer there is no further point


def in_frame(masks: np.ndarray) -> np.ndarray:
    """(P, H, W) bool of photos -> (P, h, w) bool with long side 1024, nearest neighbour, without the frame's padding."""
    height, width = resized_shape(masks.shape[-2:], image_size=FRAME)
    return masks[:, _nearest(masks.shape[-2], height)][:, :, _nearest(masks.shape[-1], width)]


def _nearest(old: int, new: int) -> np.ndarray:
    """(new,) int64: which of `old` pixels torch's nearest neighbour takes, in its own float32."""
    places = torch.arange(old, dtype=torch.float32)[None, None]
    return np.asarray(F.interpolate(places, new, mode="nearest")[0, 0].long().numpy())


def truth_cells(masks: np.ndarray) -> np.ndarray:
    """(P, H, W) bool of photos -> (P, 256, 256) bool.

    There a mask of the frame is resized bilinearly and cut at > 0. A cell's centre lies between the middle 2 x 2 of its 4 x 4
    pixels, so it belongs to the mask if one of these does.
    """
    framed = in_frame(masks)
    whole = np.zeros((len(masks), FRAME, FRAME), bool)
    whole[:, : framed.shape[1], : framed.shape[2]] = framed
    return np.asarray(whole[:, 1::4, 1::4] | whole[:, 1::4, 2::4] | whole[:, 2::4, 1::4] | whole[:, 2::4, 2::4])


def answer_cells(masks: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(P, H, W) bool answers with their logits (P, s, s) -> (P, 256, 256) bool: the logits' where there are any (s > 1)."""
    side = logits.shape[-1]
    if side <= 1:
        return truth_cells(masks)
    if side != CELLS:  # models of another input size: as their logits would be upscaled
        resized = F.interpolate(torch.from_numpy(np.asarray(logits, np.float32))[:, None], (CELLS, CELLS), mode="bilinear")
        logits = resized[:, 0].numpy()
    return np.asarray(logits > MASK_THRESHOLD)


def photo_cells(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """(256, 256) bool each: cells that the photo touches at their centre, and those that lie in it there altogether."""
    height, width = resized_shape(shape, image_size=FRAME)
    first, last = 4 * np.arange(CELLS) + 1, 4 * np.arange(CELLS) + 2
    return np.outer(first < height, first < width), np.outer(last < height, last < width)


def resampled_truths(truths: np.ndarray) -> Iterator[np.ndarray]:
    """Each (H, W) bool truth after its way there: to the frame, nearest, and back, bilinear, cut at > 0: it grows."""
    shape = (truths.shape[-2], truths.shape[-1])
    for truth in truths:
        framed = torch.from_numpy(in_frame(truth[None]).astype(np.float32))[None]
        yield (F.interpolate(framed, shape, mode="bilinear", align_corners=False) > MASK_THRESHOLD)[0, 0].numpy()


def centre_in_frame(truth: np.ndarray) -> Click:
    """The pixel of the frame farthest from the boundary of a truth, (H, W) bool, in pixels of the photo.

    An object so thin that the frame of a larger photo has no pixel of it is clicked at its deepest pixel in the photo.
    """
    deepest = deepest_pixel(in_frame(truth[None])[0])
    if deepest is None:
        deepest = deepest_pixel(truth)
        assert deepest is not None, "an empty mask has no pixel to click"
        return Click(float(deepest[1]), float(deepest[2]), FOREGROUND)
    shape = (truth.shape[0], truth.shape[1])
    x, y = unscale_points(np.asarray(deepest[1:]), shape=shape, image_size=FRAME).tolist()
    return Click(x, y, FOREGROUND)


def random_click(truth: np.ndarray, answer: np.ndarray, *, shape: Shape, random: np.random.Generator) -> Click:
    """A random cell of the error region, at its upper left corner, in pixels of the photo; NO_CLICK where it has under 10
    cells.

    Each cell has a random rank and the wrong one that ranks first is clicked: any is as likely as another, and two models whose
    errors overlap are mostly given the same click.

    Args:
        truth: (256, 256) bool; answer: the same.
        shape: (height, width) of the photo.
        random: of this object and round.
    """
    touched, inside = photo_cells(shape)
    surplus, missing = answer & ~truth & touched, truth & ~answer & inside
    wrong = surplus | missing
    if np.count_nonzero(wrong) < FEWEST_ERRORS:
        return Click(0.0, 0.0, NO_CLICK)
    row, column = np.unravel_index(int(np.where(wrong, random.random(wrong.shape), 2).argmin()), wrong.shape)
    corner = np.asarray([column, row]) * (FRAME // CELLS)
    x, y = unscale_points(corner, shape=shape, image_size=FRAME).tolist()
    return Click(x, y, FOREGROUND if missing[row, column] else BACKGROUND)
