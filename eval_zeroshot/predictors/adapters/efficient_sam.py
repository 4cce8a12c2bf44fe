"""EfficientSAM, whose model has an interface of its own.

It sees the photo stretched to a square, takes up to six points (a box is two of them), and no mask of an earlier round; a
background click has no embedding of its own there (yformer/EfficientSAM, `efficient_sam_decoder.py`: labels 1, 2, 3 and -1).
"""

import inspect
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.contract import MASK_THRESHOLD
from encoders.errors import InputError
from encoders.geometry import Shape, resized_shape
from encoders.predictor import Prediction
from encoders.prompts import Prompts
from eval_zeroshot.results.result import Role

BOX_LABELS = (2, 3)  # upper left and lower right corner
PROMPT_CHUNK = 16


class EfficientSamAdapter:
    """An EfficientSAM model as a predictor.

    Its logits are given back in SAM's layout, photo in the upper left corner of a square, so that what suites read off them
    (error regions, stability) means the same as for other models; masks come from the model's own logits, resized bicubically
    as there.

    Args:
        model: of `efficient_sam.build_efficient_sam`, in eval mode.
        identity: what tells its answers from another model's.
    """

    role: Role = "student"

    def __init__(self, model: Any, *, identity: str) -> None:
        self.model = model
        self.identity = identity
        self.image_size = int(model.image_encoder.img_size)
        self.most_points = int(model.decoder_max_num_input_points)
        self._embedding: Tensor | None = None
        self._shape: Shape = (0, 0)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.inference_mode()
    def set_image(self, image: np.ndarray, /) -> None:
        """Encode an image, (H, W, 3) uint8 RGB."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(self._device).float() / 255
        self._embedding = self.model.get_image_embeddings(pixels)
        self._shape = int(image.shape[0]), int(image.shape[1])

    @torch.inference_mode()
    def predict(self, prompts: Prompts, *, multimask: bool = True) -> Prediction:
        """See `encoders.Predictor.predict`.

        Raises:
            InputError: no image or prompt, a mask of an earlier round, or more points than the model takes.
        """
        if self._embedding is None:
            raise InputError("no image is set; call set_image first")
        if prompts.masks is not None:
            raise InputError(
                "EfficientSAM takes no mask of an earlier round; use suites that feed none back, e.g. box, point_edgesam or "
                "point_efficientvit_sam"
            )
        coordinates, kinds = self._as_points(prompts)
        if coordinates.shape[1] > self.most_points:
            raise InputError(
                f"EfficientSAM takes up to {self.most_points} points, two of them for a box, got {coordinates.shape[1]}; "
                "it would drop the others in silence"
            )
        parts = [
            self._ask(coordinates[start : start + PROMPT_CHUNK], kinds[start : start + PROMPT_CHUNK], multimask=multimask)
            for start in range(0, max(1, len(coordinates)), PROMPT_CHUNK)
        ]
        return Prediction(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _ask(self, points: np.ndarray, labels: np.ndarray, *, multimask: bool) -> tuple[np.ndarray, ...]:
        height, width = self._shape
        accepted = inspect.signature(self.model.predict_masks).parameters
        # Some versions are given the photo's size here, others keep it themselves.
        sizes = {"input_h": height, "input_w": width} if "input_h" in accepted else {}
        logits, scores = self.model.predict_masks(
            self._embedding,
            torch.as_tensor(points, dtype=torch.float32, device=self._device)[None],
            torch.as_tensor(labels, device=self._device)[None],
            multimask_output=multimask,
            **sizes,
        )
        logits, scores = logits[0], scores[0]  # (P, M, s, s) of the stretched photo, (P, M)
        found = F.interpolate(logits, (height, width), mode="bicubic") > MASK_THRESHOLD
        side = logits.shape[-1]
        rows, columns = resized_shape(self._shape, image_size=side)
        placed = F.interpolate(logits, (rows, columns), mode="bilinear")
        low = logits.min() if logits.numel() else logits.new_zeros(())  # stays on the device: nothing is waited for
        square = low.expand_as(logits).clone()
        square[..., :rows, :columns] = placed
        return found.cpu().numpy(), scores.float().cpu().numpy(), square.float().cpu().numpy()

    def _as_points(self, prompts: Prompts) -> tuple[np.ndarray, np.ndarray]:
        """Points (P, N, 2) xy and labels (P, N), a box's corners first."""
        points, labels, boxes = prompts.points, prompts.labels, prompts.boxes
        coordinates, kinds = [], []
        if boxes is not None:
            coordinates.append(np.asarray(boxes, np.float32).reshape(-1, 2, 2))
            kinds.append(np.tile(np.asarray(BOX_LABELS), (len(boxes), 1)))
        if points is not None and labels is not None:
            coordinates.append(np.asarray(points, np.float32))
            kinds.append(np.asarray(labels))
        if not coordinates:
            raise InputError("no prompt given; pass points with labels, or boxes")
        return np.concatenate(coordinates, axis=1), np.concatenate(kinds, axis=1)
