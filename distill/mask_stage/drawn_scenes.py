"""Synthetic scenes with exact masks: an unlimited supply of small, sharp objects, which are rare in a few hundred photos."""

import math

import numpy as np
from PIL import Image, ImageDraw

from encoders.geometry import mask_box
from encoders.samples.sample import Sample

MIN_VISIBLE_PIXELS = 30


class Shapes:
    """Scenes of ellipses, rectangles and ragged polygons, each with its own colour and grain, lying over one another.

    Scene i is a function of (seed, i) alone. Sizes are log-uniform from 3 % to 60 % of the long side, so that most
    objects are small. A mask is what is seen of its shape.

    Args:
        count: scenes.
        size: long side in pixels; the short side is 60 % to 100 % of it.
        seed: another seed draws other scenes.
    """

    def __init__(self, *, count: int, size: int = 512, seed: int = 0) -> None:
        self.count = count
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Draw scene `index`."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng((self.seed, index))
        sides = [self.size, int(self.size * rng.uniform(0.6, 1.0))]
        width, height = sides if rng.random() < 0.7 else sides[::-1]
        image = _surface((height, width), rng=rng)
        masks: list[np.ndarray] = []
        for _ in range(int(rng.integers(6, 24))):
            mask = _shape((height, width), rng=rng)
            image[mask] = _surface((height, width), rng=rng)[mask]
            for earlier in masks:
                earlier &= ~mask
            masks.append(mask)
        seen = [mask for mask in masks if mask.sum() >= MIN_VISIBLE_PIXELS]
        boxes = [mask_box(mask) for mask in seen]
        return Sample(key=f"shapes-{self.seed}-{index}", image=image, boxes=boxes, masks=seen)


def _shape(shape: tuple[int, int], *, rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool: one turned ellipse, rectangle or ragged polygon, perhaps reaching over the border."""
    height, width = shape
    extent = max(shape) * math.exp(rng.uniform(math.log(0.03), math.log(0.6)))
    stretch = math.exp(rng.uniform(-0.9, 0.9))
    radius_x, radius_y = extent / 2 * math.sqrt(stretch), extent / 2 / math.sqrt(stretch)
    kind = rng.choice(["ellipse", "rectangle", "ragged"])
    if kind == "rectangle":
        outline = np.asarray([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    else:
        angles = np.linspace(0, 2 * math.pi, 40 if kind == "ellipse" else int(rng.integers(5, 14)), endpoint=False)
        radii = np.ones(len(angles)) if kind == "ellipse" else rng.uniform(0.4, 1.0, len(angles))
        outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    outline = outline * (radius_x, radius_y)
    turn = rng.uniform(0, math.pi) if rng.random() < 0.6 else 0.0
    rotation = np.asarray([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))])
    outline = outline @ rotation + (rng.uniform(0, width), rng.uniform(0, height))
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.array(canvas)


def _surface(shape: tuple[int, int], *, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8: a colour that drifts across the frame, with grain."""
    height, width = shape
    colour, drift = rng.uniform(10, 245, 3), rng.normal(0, 40, (2, 3))
    rows, columns = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
    coarse = rng.normal(0, rng.uniform(0, 25), (height // 8 + 1, width // 8 + 1, 1))
    grain = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:height, :width]
    pixels = colour + rows * drift[0] + columns * drift[1] + grain
    return pixels.clip(0, 255).astype(np.uint8)
