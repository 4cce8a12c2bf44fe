"""Predictors that look at nothing: what a prompt alone is worth, and what an untrained model makes of it."""

import numpy as np
import torch

import encoders
from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.predictor import Prediction, Predictor
from encoders.prompts import Prompts
from encoders.sam import Sam
from eval_zeroshot.results.result import Role

DISC_RADIUS_FRACTION = 0.03  # of the photo's long side: the best single radius on COCO's centre points


def fill_box(box: np.ndarray, *, shape: Shape) -> np.ndarray:
    """(H, W) bool: the pixels whose centres lie in a box, (4,) xyxy in pixels."""
    x0, y0, x1, y1 = (float(value) for value in box)
    columns, rows = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    return np.outer((rows >= y0) & (rows < y1), (columns >= x0) & (columns < x1))


def fill_disc(point: np.ndarray, *, radius_pixels: float, shape: Shape) -> np.ndarray:
    """(H, W) bool: the pixels at most `radius_pixels` from a pixel, (2,) xy."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((columns - float(point[0])) ** 2 + (rows - float(point[1])) ** 2 <= radius_pixels**2)


class Disc:
    """Answers each click with a disc around it: the union of the foreground discs without the background ones.

    Boxes are refused; see FillBox. All masks of a prompt are equal, scores are 1, so that a detector's score times
    theirs is the detector's, and the logits (P, M, 1, 1) say nothing.

    Args:
        radius_fraction: radius over the photo's long side.
    """

    role: Role = "baseline"

    def __init__(self, radius_fraction: float = DISC_RADIUS_FRACTION) -> None:
        self.radius_fraction = radius_fraction
        self._shape: Shape | None = None

    @property
    def identity(self) -> str:
        """What tells its answers from another baseline's."""
        return f"{type(self).__name__}({self.radius_fraction})"

    def set_image(self, image: np.ndarray, /) -> None:
        """Remember the size of an (H, W, 3) image; its pixels are not looked at."""
        self._shape = int(image.shape[0]), int(image.shape[1])

    def predict(self, prompts: Prompts, *, multimask: bool = True) -> Prediction:
        """See `encoders.Predictor.predict`."""
        if self._shape is None:
            raise InputError("no image is set; call set_image first")
        found = self._masks(prompts, self._shape)
        channels = 3 if multimask else 1
        return Prediction(
            masks=np.broadcast_to(found[:, None], (len(found), channels, *self._shape)),
            scores=np.ones((len(found), channels), np.float32),
            logits=np.zeros((len(found), channels, 1, 1), np.float32),
        )

    def _masks(self, prompts: Prompts, shape: Shape) -> np.ndarray:
        points, labels = prompts.points, prompts.labels
        if points is None or labels is None:
            raise InputError("a disc needs points and labels; use FillBox for boxes")
        found = np.zeros((len(points), *shape), bool)
        for mask, clicks, kinds in zip(found, np.asarray(points), np.asarray(labels), strict=True):
            for wanted in (1, 0):  # what background clicks take away stays away
                for point in clicks[kinds == wanted]:
                    disc = fill_disc(point, radius_pixels=self.radius_fraction * max(shape), shape=shape)
                    mask[disc] = bool(wanted)
        return found


class FillBox(Disc):
    """Answers a box with the whole box, and clicks as `Disc` does."""

    def _masks(self, prompts: Prompts, shape: Shape) -> np.ndarray:
        boxes = prompts.boxes
        if boxes is None:
            return super()._masks(prompts, shape)
        return np.stack([fill_box(box, shape=shape) for box in boxes]) if len(boxes) else np.zeros((0, *shape), bool)


def untrained(name: str, *, image_size: int = 1024, seed: int = 0, decoder_of: Sam | None = None) -> Predictor:
    """A freshly initialised model of a registry name, the same for the same seed; the global random state is kept.

    Args:
        name: see `encoders.list_models`.
        image_size: S in pixels.
        seed: of the initialisation.
        decoder_of: a trained model whose prompt encoder and mask decoder are used, so that only the image encoder is
            untrained. None leaves everything untrained.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sam = encoders.build_sam(name, image_size=image_size)
    if decoder_of is not None:
        sam.prompt_encoder.load_state_dict(decoder_of.prompt_encoder.state_dict())
        sam.mask_decoder.load_state_dict(decoder_of.mask_decoder.state_dict())
    return Predictor(sam.eval())
