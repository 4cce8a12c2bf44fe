"""A drop-in replacement for segment-anything's `SamPredictor` that uses our models; only the import has to change."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.contract import MASK_STRIDE
from encoders.decoder.masks import upscale_logits
from encoders.errors import InputError
from encoders.geometry import Shape, resized_shape
from encoders.predictor import Predictor, PromptableModel
from encoders.prompts import Prompts, as_array
from encoders.samples.given_image import check_image

IMAGE_FORMATS = ("RGB", "BGR")
KEYWORDS = {"points": "point_coords", "labels": "point_labels", "boxes": "box", "masks": "mask_input"}  # of Predictor, of ours


class _OnePrompt(Prompts):
    """P = 1; messages have segment-anything's keywords, and indices of the prompt alone: `point_coords[3, 1] is nan`."""

    def called(self, kind: str, *index: int) -> str:
        return super().called(KEYWORDS[kind], *index[1:])


class SamPredictor:
    """One prompt at a time, with the keywords and shapes of segment-anything's class of this name.

    `encoders.Predictor` answers P prompts at a time, which is about three times as fast for many of them.

    Args:
        sam_model: a model in eval mode, `encoders.Sam` or an exported one.
    """

    _predictor: Predictor
    _shape: Shape | None

    def __init__(self, sam_model: PromptableModel) -> None:
        self.model = sam_model
        self.reset_image()

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def is_image_set(self) -> bool:
        return self._shape is not None

    @property
    def original_size(self) -> Shape:
        """(height, width) of the image that is set."""
        if self._shape is None:
            raise InputError("no image is set; call set_image first")
        return self._shape

    @property
    def input_size(self) -> Shape:
        """(height, width) of the image in the model's input frame."""
        return resized_shape(self.original_size, image_size=self.model.image_size)

    @property
    def features(self) -> Tensor:
        """(1, 256, S/16, S/16) of the image that is set."""
        return self._predictor.embedding

    def get_image_embedding(self) -> Tensor:
        """(1, 256, S/16, S/16) of the image that is set."""
        return self._predictor.embedding

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Encode an image, (H, W, 3) uint8, its channels in the order of `image_format`, "RGB" or "BGR".

        Raises:
            InputError: it is something else, or the model is in train mode; an image that was set before stays.
        """
        if image_format not in IMAGE_FORMATS:
            raise InputError(f"image_format is {image_format!r}; expected {' or '.join(IMAGE_FORMATS)}")
        image = check_image(image)
        self._predictor.set_image(image if image_format == "RGB" else image[..., ::-1])
        self._shape = self._predictor.shape

    def reset_image(self) -> None:
        """Forget the image that is set."""
        self._predictor = Predictor(self.model)
        self._shape = None

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks for one prompt on the image that is set; C = 3 with `multimask_output`, else 1.

        Args:
            point_coords: (N, 2) float xy, pixels of the original image.
            point_labels: (N,) int, 1 foreground, 0 background.
            box: (4,), or (1, 4), float xyxy, pixels of the original image.
            mask_input: (1, S/4, S/4) float logits of an earlier answer, 256 x 256 for S = 1024.
            return_logits: logits in place of masks.

        Returns:
            masks (C, H, W) bool, or with `return_logits` float32; iou_predictions (C,) float32; low_res_masks
            (C, S/4, S/4) float32 logits.

        Raises:
            InputError: no image is set; no prompt is given, which segment-anything would answer with masks of nothing; one has
                another shape or type, or values as in `encoders.Predictor.predict`.
        """
        if point_coords is None and point_labels is None and box is None and mask_input is None:
            raise InputError("no prompt given; pass point_coords with point_labels, box, or mask_input")
        if (point_coords is None) != (point_labels is None):
            given, missing = ("point_coords", "point_labels") if point_labels is None else ("point_labels", "point_coords")
            raise InputError(f"{given} without {missing}; expected point_coords (N, 2) xy with point_labels (N,), 1 or 0 each")
        side = self.model.image_size // MASK_STRIDE
        points = _shaped(point_coords, "point_coords", (None, 2))
        corners = None if box is None else as_array(box, "box")
        prompt = _OnePrompt(
            points=points,
            labels=_shaped(point_labels, "point_labels", (None if points is None else points.shape[1],)),
            boxes=_shaped(corners[0] if corners is not None and corners.shape == (1, 4) else corners, "box", (4,)),
            masks=_shaped(mask_input, "mask_input", (1, side, side)),
        )
        masks, scores, logits = (part[0] for part in self._predictor.predict(prompt, multimask=multimask_output))
        if return_logits:
            low = torch.from_numpy(logits)[None]
            masks = upscale_logits(low, shape=self.original_size, image_size=self.model.image_size)[0].numpy()
        return masks, scores, logits


def _shaped(values: Any, name: str, expected: tuple[int | None, ...]) -> np.ndarray | None:
    """A prompt's array as the only one of a batch, (1, *expected); None stays None, and None in `expected` is any number.

    Raises:
        InputError: it has another shape.
    """
    if values is None:
        return None
    array = as_array(values, name)
    if array.ndim != len(expected) or any(want not in (None, have) for have, want in zip(array.shape, expected, strict=True)):
        wanted = ", ".join("N" if side is None else str(side) for side in expected) + ("," if len(expected) == 1 else "")
        raise InputError(f"{name} must be ({wanted}), got {array.shape}; for several prompts at a time see encoders.Predictor")
    return array[None]
