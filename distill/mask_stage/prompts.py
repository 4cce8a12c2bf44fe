"""Prompts drawn from masks: jittered boxes, points inside, the next click where a prediction is wrong.

Everything is in pixels of the input frame (S x S), xy and xyxy; randomness comes from a generator the caller seeds.
"""

import numpy as np
import torch
from torch import Tensor

BOX_JITTER = 0.1  # standard deviation as a share of the side; SAM paper, appendix A
LOW_BITS = 2**32 - 1
BOX_JITTER_MAX = 20.0  # pixels at image size 1024; SAM paper, appendix A


def jitter_box(box: np.ndarray, *, image_size: int, rng: np.random.Generator) -> np.ndarray:
    """(4,) xyxy -> a box with each coordinate shifted as in SAM's training: sigma 10 % of the side, at most 20 / 1024 S."""
    limit = BOX_JITTER_MAX * image_size / 1024
    sides = np.tile(box[2:] - box[:2], 2)
    shift = np.clip(rng.normal(0.0, BOX_JITTER * sides), -limit, limit)
    x0, y0, x1, y1 = np.clip(box + shift, 0, image_size)
    return np.asarray([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)], np.float32)


def point_inside(mask: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool, not empty -> (2,) float32 xy of a random pixel of the mask."""
    pixels = np.flatnonzero(mask)
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), mask.shape[1])
    return np.asarray([column, row], np.float32)


def error_clicks(prediction: Tensor, target: Tensor, *, stride: int, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """One uniform random click in the error region of each prediction.

    Args:
        prediction, target: (P, h, w) bool, at `stride` pixels of the input frame a cell.
        seeds: (P,) int64, one for each prompt, so that a click does not depend on what else is in the batch.

    Returns:
        points (P, 1, 2) float xy in the input frame, cell centres; labels (P, 1): 1 where the target was missed, 0 where
        the prediction spills over, -1 (no point) where there is no error.
    """
    count, _, width = prediction.shape
    error = (prediction ^ target).flatten(1)
    noise = seeded_noise(seeds.to(error.device), cells=error.shape[1])
    cell = ((1 + noise) * error).argmax(dim=1)
    rows, columns = cell // width, cell % width
    points = torch.stack([columns, rows], dim=-1).float() * stride + (stride - 1) / 2
    labels = target.flatten(1)[torch.arange(count, device=cell.device), cell].long()
    labels = torch.where(error.any(dim=1), labels, -1)
    return points[:, None], labels[:, None]


def seeded_noise(seeds: Tensor, *, cells: int) -> Tensor:
    """(P,) int64 seeds -> (P, cells) float32 in [0, 1): a row depends on its seed alone, on every device alike.

    A hash of seed and cell takes the place of a generator for each prompt, which a GPU would have to be fed from the host.
    Source of the hash: Wellons, "Prospecting for hash functions", 2018 (lowbias32).
    """
    number = torch.arange(cells, device=seeds.device)
    mixed = (seeds[:, None] ^ (seeds[:, None] >> 32)) + number * 0x9E3779B1
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed = mixed & LOW_BITS
        mixed = (mixed ^ (mixed >> shift)) * factor
    mixed = mixed & LOW_BITS
    return ((mixed ^ (mixed >> 16)) >> 8).float() / 2**24  # the bits that a float32 holds exactly
