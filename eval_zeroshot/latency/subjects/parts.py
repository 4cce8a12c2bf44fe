"""The call of each part: an image through the encoder, prompts through the decoder, a grid of points over a photo."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from encoders.contract import EMBED_DIM, STRIDE
from eval_zeroshot.latency.subjects.subject import Spec

SEED = 0
SIDES = (2, 3)  # height and width of the synthetic photo, as a ratio
Detail = Callable[[], dict[str, int | str]]


def contract_image(image_size: int, *, batch: int = 1) -> np.ndarray:
    """(B, 3, S, S) float32 noise, normalised as SAM's input is; latencies do not depend on the content."""
    random = np.random.default_rng(SEED)
    return random.standard_normal((batch, 3, image_size, image_size), dtype=np.float32)


def some_embedding(image_size: int) -> np.ndarray:
    """(1, 256, S/16, S/16) float32 noise."""
    side = image_size // STRIDE
    return np.random.default_rng(SEED).standard_normal((1, EMBED_DIM, side, side), dtype=np.float32)


def some_points(count: int, *, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """P prompts, each of one foreground point and the padding point that stands for "no box".

    Returns:
        coords (P, 2, 2) float32 xy in the input frame, labels (P, 2) int64.
    """
    random = np.random.default_rng(SEED)
    coords = np.zeros((count, 2, 2), np.float32)
    coords[:, 0] = random.uniform(0, image_size, (count, 2))
    return coords, np.tile(np.asarray([[1, -1]], np.int64), (count, 1))


def synthetic_photo(image_size: int) -> np.ndarray:
    """(2/3 S, S, 3) uint8 RGB: coloured blobs with sharp edges, so that masks have outlines to follow."""
    height, width = image_size * SIDES[0] // SIDES[1], image_size
    random = np.random.default_rng(SEED)
    rows, columns = np.mgrid[:height, :width]
    photo = np.zeros((height, width, 3), np.float64)
    photo += np.linspace(60, 140, width)[None, :, None]
    for _ in range(12):
        y, x, radius = random.uniform(0, height), random.uniform(0, width), random.uniform(0.05, 0.2) * width
        photo[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = random.uniform(0, 255, 3)
    return photo.astype(np.uint8)


def photo_of(spec: Spec) -> np.ndarray:
    """The photo of everything mode, (H, W, 3) uint8 RGB."""
    if spec.photo is None:
        return synthetic_photo(spec.image_size)
    from encoders.samples.image import read_image

    image: np.ndarray = read_image(Path(spec.photo))
    return image


def of_encoder_decoder(spec: Spec, model: Any) -> tuple[Callable[[], None], Detail]:
    """Encoder or decoder of an exported model, an `encoders.export.opened.ExportedSam`."""
    runtime = model.runtime
    if spec.part == "encoder":
        height, width = model.frame or (spec.image_size, spec.image_size)
        image = np.ascontiguousarray(contract_image(spec.image_size)[..., :height, :width])
        return (lambda: _nothing(runtime.encode(image))), lambda: {"height": height, "width": width} if model.frame else {}
    embedding = some_embedding(spec.image_size)
    coords, labels = some_points(spec.prompts, image_size=spec.image_size)
    return (lambda: _nothing(runtime.decode(embedding, coords, labels))), lambda: dict(spec.asked)


def everything(spec: Spec, model: Any) -> tuple[Callable[[], None], Detail]:
    """Everything mode on one photo: encoder, a grid of points, filters and non-maximum suppression.

    All settings but the grid are segment-anything's. The number of masks that pass the filters depends on the weights, and so
    does part of the time; the detail reports it.

    Args:
        model: exported or PyTorch's, as `encoders.Predictor` takes it.
    """
    from encoders.predictor import Predictor
    from eval_zeroshot.suites.everything import MaskGenerator, MaskSettings

    generator = MaskGenerator(Predictor(model), settings=MaskSettings(points_per_side=spec.grid))
    photo, found = photo_of(spec), [0]

    def call() -> None:
        found[0] = len(generator.generate(photo))

    return call, lambda: {**spec.asked, "masks": found[0], "height": photo.shape[0], "width": photo.shape[1]}


def _nothing(_result: object) -> None:
    return None
