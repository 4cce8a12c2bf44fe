"""Augmentation for the mask stage: scale, crop, flip, colour jitter, and objects pasted from another photo.

A view is a function of (sample, rng) alone, so the order of workers cannot change it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoders.samples.sample import Sample


@dataclass(frozen=True)
class View:
    """An augmented photo and its masks.

    Attributes:
        image: (h, w, 3) uint8, h and w at most S.
        masks: (K, h, w) bool, none empty.
    """

    image: np.ndarray
    masks: np.ndarray


def random_view(
    sample: Sample,
    *,
    image_size: int,
    scale: tuple[float, float],
    max_masks: int,
    min_pixels: int,
    rng: np.random.Generator,
) -> View:
    """Return a random crop of a randomly scaled and possibly mirrored photo.

    Args:
        image_size: S; the view is at most S x S.
        scale: range of the photo's long side after scaling, as a multiple of S, drawn log-uniformly; 1 shows it whole.
        max_masks: largest number of objects, drawn at random.
        min_pixels: an object with fewer pixels in the view is left out.
    """
    height, width = sample.shape
    factor = image_size * float(np.exp(rng.uniform(*np.log(scale)))) / max(height, width)
    span_x, span_y = min(width, image_size / factor), min(height, image_size / factor)
    left, top = rng.uniform(0, width - span_x), rng.uniform(0, height - span_y)
    box = (left, top, left + span_x, top + span_y)
    size = max(1, min(image_size, round(span_x * factor))), max(1, min(image_size, round(span_y * factor)))
    image = np.asarray(Image.fromarray(sample.image).resize(size, Image.Resampling.BILINEAR, box=box))
    mirror = rng.random() < 0.5
    masks = []
    for index in rng.permutation(len(sample.masks)):
        if sample.crowd[index] or not _overlaps(sample.boxes[index], box):
            continue
        grey = Image.fromarray(sample.masks[index].astype(np.uint8) * 255)
        mask = np.asarray(grey.resize(size, Image.Resampling.BILINEAR, box=box)) > 127
        if mask.sum() >= min_pixels:
            masks.append(mask[:, ::-1] if mirror else mask)
        if len(masks) == max_masks:
            break
    stacked = np.stack(masks) if masks else np.zeros((0, *image.shape[:2]), bool)
    return View(image[:, ::-1] if mirror else image, stacked)


def paste(view: View, donor: View, *, count: int, min_pixels: int, rng: np.random.Generator) -> View:
    """Paste up to `count` objects of the donor into the view at their original position, occluding what is behind."""
    height, width = (min(a, b) for a, b in zip(view.image.shape[:2], donor.image.shape[:2], strict=True))
    image, masks = view.image.copy(), view.masks.copy()
    pasted: list[np.ndarray] = []
    for index in rng.permutation(len(donor.masks))[:count]:
        mask = np.zeros(view.image.shape[:2], bool)
        mask[:height, :width] = donor.masks[index][:height, :width]
        if not min_pixels <= mask.sum() <= 0.4 * mask.size:
            continue
        image[mask] = donor.image[:height, :width][mask[:height, :width]]
        masks &= ~mask
        for earlier in pasted:
            earlier &= ~mask
        pasted.append(mask)
    everything = [mask for mask in [*pasted, *masks] if mask.sum() >= min_pixels]
    return View(image, np.stack(everything) if everything else np.zeros((0, *image.shape[:2]), bool))


def jitter_colour(image: np.ndarray, *, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Apply random channel gains, brightness, contrast and saturation, each within 1 +- strength; (h, w, 3) uint8."""
    if strength == 0:
        return image
    pixels = image.astype(np.float32)
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * saturation
    mean = float(grey.mean())
    pixels = (pixels - mean) * contrast + mean * brightness
    pixels *= rng.uniform(1 - strength / 4, 1 + strength / 4, 3).astype(np.float32)
    if rng.random() < 0.1:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    return pixels.clip(0, 255).astype(np.uint8)


def _overlaps(box: np.ndarray, window: Sequence[float]) -> bool:
    """Return whether two xyxy boxes overlap."""
    return bool(box[0] < window[2] and box[2] > window[0] and box[1] < window[3] and box[3] > window[1])
