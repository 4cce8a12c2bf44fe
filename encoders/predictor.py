"""Prompts in, masks out, in pixels of the given photo. Suites take a predictor, never a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.contract import MASK_STRIDE, MASK_THRESHOLD, STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, resize_image, scale_boxes, scale_points
from encoders.preprocess import normalize_padded, pad_to_square
from encoders.sam import Sam

PROMPT_CHUNK = 64  # prompts decoded at a time: bounds memory, not results


@dataclass(frozen=True)
class Prediction:
    """What a predictor answers for P prompts; M = 3 with multimask, else 1.

    Attributes:
        masks: (P, M, H, W) bool.
        scores: (P, M) float32, predicted IoU.
        logits: (P, M, S/4, S/4) float32, to be fed back as `masks` of the next round.
    """

    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray

    def __iter__(self) -> Any:
        return iter((self.masks, self.scores, self.logits))


class Predictor:
    """A model with an image set, asked for masks. Mirrors segment-anything's `SamPredictor`, for P prompts at a time.

    Args:
        sam: a model in eval mode (BatchNorm encoders are silently wrong in train mode, so that is an InputError).
    """

    def __init__(self, sam: Sam) -> None:
        self.sam = sam
        self._embedding: Tensor | None = None
        self._shape: Shape | None = None

    @property
    def image_size(self) -> int:
        return self.sam.image_size

    @property
    def shape(self) -> Shape:
        """(height, width) of the image that is set."""
        if self._shape is None:
            raise InputError("no image is set; call set_image first")
        return self._shape

    @property
    def embedding(self) -> Tensor:
        """(1, 256, S/16, S/16) of the image that is set."""
        if self._embedding is None:
            raise InputError("no image is set; call set_image first")
        return self._embedding

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image, (H, W, 3) uint8 RGB."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(f"expected an (H, W, 3) uint8 RGB image, got {image.shape} {image.dtype}")
        if self.sam.training:
            raise InputError("the model is in train mode, where BatchNorm gives other results; call sam.eval() first")
        resized = resize_image(image, image_size=self.image_size)
        frame = pad_to_square(resized, image_size=self.image_size)[None].to(self.sam.device)
        with torch.inference_mode():
            embedding = self.sam.image_encoder(normalize_padded(frame, [resized.shape[:2]]))
        self.set_embedding(embedding, shape=(image.shape[0], image.shape[1]))

    def set_embedding(self, embedding: Tensor, *, shape: Shape) -> None:
        """Use a stored embedding, (1, 256, S/16, S/16), of an image of `shape` (height, width)."""
        side = self.image_size // STRIDE
        if tuple(embedding.shape[-2:]) != (side, side):
            given = tuple(embedding.shape)
            raise InputError(f"embedding is {given}, image size {self.image_size} needs {side} x {side}")
        self._embedding = embedding.to(self.sam.device)
        self._shape = shape

    def predict(
        self,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        masks: np.ndarray | None = None,
        multimask: bool = True,
    ) -> Prediction:
        """Masks for P prompts on the image that is set.

        Args:
            points: (P, N, 2) float xy, pixels of the original image.
            labels: (P, N) int, 1 foreground, 0 background, -1 padding.
            boxes: (P, 4) float xyxy, pixels of the original image.
            masks: (P, 1, S/4, S/4) float logits of an earlier round.
            multimask: three masks a prompt, else one.
        """
        prompts = self._to_frame(points, labels, boxes, masks)
        count = len(next(iter(prompts.values())))
        parts = []
        for start in range(0, count, PROMPT_CHUNK):
            chunk = {name: value[start : start + PROMPT_CHUNK] for name, value in prompts.items()}
            parts.append([part.cpu().numpy() for part in self.predict_torch(**chunk, multimask=multimask)])
        if not parts:
            channels, side = (3 if multimask else 1), self.image_size // MASK_STRIDE
            return Prediction(
                np.zeros((0, channels, *self.shape), bool),
                np.zeros((0, channels), np.float32),
                np.zeros((0, channels, side, side), np.float32),
            )
        return Prediction(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @torch.inference_mode()
    def predict_torch(self, *, multimask: bool = True, **prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`predict` on tensors: prompts already in the input frame; gives masks, scores, logits on the device."""
        count = len(next(iter(prompts.values())))
        logits, scores = self.sam.decode(
            self.embedding,
            image_index=torch.zeros(count, dtype=torch.long, device=self.sam.device),
            **prompts,
            multimask=multimask,
        )
        masks = self.sam.upscale(logits, shape=self.shape) > MASK_THRESHOLD
        return masks, scores, logits

    def _to_frame(
        self,
        points: np.ndarray | None,
        labels: np.ndarray | None,
        boxes: np.ndarray | None,
        masks: np.ndarray | None,
    ) -> dict[str, Tensor]:
        """Check shapes and bring the prompts into the input frame, as tensors on the model's device."""
        scaled: dict[str, np.ndarray] = {}
        if points is not None:
            given = None if labels is None else np.shape(labels)
            if np.ndim(points) != 3 or np.shape(points)[2] != 2 or given != np.shape(points)[:2]:
                raise InputError(f"points must be (P, N, 2) with labels (P, N), got {np.shape(points)} and {given}")
            scaled["points"] = scale_points(points, shape=self.shape, image_size=self.image_size)
            scaled["labels"] = np.asarray(labels, np.int64)
        if boxes is not None:
            if np.ndim(boxes) != 2 or np.shape(boxes)[1] != 4:
                raise InputError(f"boxes must be (P, 4) xyxy, got {np.shape(boxes)}")
            scaled["boxes"] = scale_boxes(boxes, shape=self.shape, image_size=self.image_size)
        if masks is not None:
            side = self.image_size // MASK_STRIDE
            if np.ndim(masks) != 4 or np.shape(masks)[1:] != (1, side, side):
                raise InputError(f"masks must be (P, 1, {side}, {side}) logits, got {np.shape(masks)}")
            scaled["masks"] = np.asarray(masks, np.float32)
        if not scaled:
            raise InputError("no prompt given; pass points with labels, boxes, or masks")
        if len({len(value) for value in scaled.values()}) != 1:
            raise InputError(f"prompts differ in number: { {name: len(value) for name, value in scaled.items()} }")
        return {name: torch.from_numpy(value).to(self.sam.device) for name, value in scaled.items()}
