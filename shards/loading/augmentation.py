"""Augmentation of the student's photos that needs no new embedding: colour, blur, noise and JPEG compression.

The student learns to give the embedding of the clean photo for a changed one. Nothing moves, so the cached embedding fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageFilter

from shards.loading.batch import Batch
from shards.loading.loader import Transform

STREAM = 0xA06  # sets these random numbers apart from others drawn for the same place
BLUR_PIXELS = (0.3, 2.0)  # deviation of the Gaussian where the input frame has 1024 px; in proportion elsewhere
NOISE_LEVELS = (1.0, 12.0)  # deviation of the noise in grey levels of 255
JPEG_QUALITY = (30, 90)
TINT = 0.25  # of the colour's strength: the largest change of one channel against the others
GREY = (0.299, 0.587, 0.114)  # of red, green and blue in a grey value, as JPEG's
GAUSSIAN = np.asarray([NormalDist().inv_cdf((number + 0.5) / 256) for number in range(256)])
MEAN_STRIDE = 8  # every how many pixels a photo's mean grey value is taken from

Factors = Sequence[float] | np.ndarray


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Changes the photos of a batch in a loader's worker; a `shards.loading.loader.Transform`.

    What happens to a photo is a function of (seed, its place in the endless training sequence) alone, so that neither ranks
    nor workers nor a resumed run change it. Each setting draws its own numbers: changing one leaves the others' as they are.
    Padding stays 0.

    Args:
        seed: of the run.
        colour: brightness, contrast and saturation are multiplied by factors within 1 +- colour, and each channel by one
            within 1 +- colour / 4.
        blur, noise, jpeg: probability that a photo gets it, in this order after the colour.
    """

    seed: int
    colour: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0

    def __call__(self, batch: Batch, places: Sequence[int]) -> Batch:
        """Change the photos in the batch's own memory.

        Args:
            places: of each row in the endless training sequence.
        """
        frames = batch.pixels.permute(0, 2, 3, 1).numpy()  # (B, S, S, 3), the batch's memory
        for frame, (height, width), place in zip(frames, batch.shapes, places, strict=True):
            photo = frame[:height, :width]
            photo[:] = self.photo(photo, place=place, image_size=len(frame))
        return batch

    def photo(self, pixels: np.ndarray, *, place: int, image_size: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB -> the same shape, changed for a place in the training sequence; the input is not written to."""
        rng = np.random.default_rng((self.seed, place, STREAM))
        chances, amounts, factors = rng.random(3).tolist(), rng.random(3).tolist(), rng.uniform(-1, 1, 6)
        if self.colour:
            pixels = change_colour(pixels, 1 + self.colour * factors[:3], tint=1 + self.colour * TINT * factors[3:])
        if chances[0] < self.blur:
            pixels = blur(pixels, deviation=between(BLUR_PIXELS, amounts[0]) * image_size / 1024)
        if chances[1] < self.noise:
            pixels = add_noise(pixels, deviation=between(NOISE_LEVELS, amounts[1]), rng=rng)
        if chances[2] < self.jpeg:
            pixels = compress(pixels, quality=round(between(JPEG_QUALITY, amounts[2])))
        return pixels


@dataclass(frozen=True)
class Chain:
    """Transforms of a batch one after another; a `Transform` itself."""

    transforms: tuple[Transform, ...]

    def __call__(self, batch: Batch, places: Sequence[int]) -> Any:
        """Return what the last transform makes of the batch."""
        made: Any = batch
        for transform in self.transforms:
            made = transform(made, places)
        return made


def change_colour(pixels: np.ndarray, factors: Factors, *, tint: Factors) -> np.ndarray:
    """Change the colours of a photo by one affine map of (red, green, blue), clipped and rounded once.

    Args:
        pixels: (h, w, 3) uint8.
        factors: of brightness, contrast (around the photo's mean grey value) and saturation (around each pixel's grey value).
        tint: factors of the three channels.
    """
    brightness, contrast, saturation = factors
    mean = float(pixels[::MEAN_STRIDE, ::MEAN_STRIDE].mean(axis=(0, 1)) @ np.asarray(GREY))
    to_grey = np.tile(GREY, (3, 1))
    mixing = contrast * (saturation * np.eye(3) + (1 - saturation) * to_grey)
    offset = (1 - contrast) * mean
    rows = np.column_stack([mixing, np.full(3, offset)]) * brightness * np.asarray(tint)[:, None]
    image = Image.fromarray(pixels).convert("RGB", tuple(rows.ravel().tolist()))
    return np.asarray(image)


def blur(pixels: np.ndarray, *, deviation: float) -> np.ndarray:
    """Blur (h, w, 3) uint8 by a Gaussian of this many pixels."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(deviation)))


def add_noise(pixels: np.ndarray, *, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of this many grey levels to (h, w, 3) uint8, independent in every value.

    Each value takes a random byte, which stands for one of 256 equally likely parts of the Gaussian: a quarter of the time of
    exact numbers, which would be rounded anyway.
    """
    levels = np.round(deviation * GAUSSIAN).astype(np.int16)
    noisy = levels[np.frombuffer(rng.bytes(pixels.size), np.uint8)].reshape(pixels.shape)
    noisy += pixels
    return noisy.clip(0, 255, out=noisy).astype(np.uint8)


def compress(pixels: np.ndarray, *, quality: int) -> np.ndarray:
    """Compress (h, w, 3) uint8 as JPEG with halved colour resolution, and decode it."""
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling="420")
    decoded: np.ndarray = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    return decoded


def between(bounds: tuple[float, float], share: float) -> float:
    """Return the number at a share of the way between two bounds."""
    return bounds[0] + share * (bounds[1] - bounds[0])
