"""Any object with the interface of segment-anything's `SamPredictor`, as a predictor that suites can ask."""

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.predictor import Prediction
from encoders.prompts import Prompts
from eval_zeroshot.results.result import Role

PROMPT_CHUNK = 64  # prompts decoded at a time: bounds memory, not results


class SamPredictorAdapter:
    """P prompts at a time for a `SamPredictor`: by its `predict_torch` where it has one, else one by one by its `predict`.

    EdgeSAM's variation is understood too: `predict_torch` that is handed the features, `num_multimask_outputs` in place of
    `multimask_output`, and `use_stability_score`, which is switched off, so that scores are the predicted IoU of every family.

    Args:
        predictor: with `set_image` and `predict`, or `set_image`, `predict_torch`, `transform`, `device`.
        identity: what tells its answers from another model's, e.g. its family and the sha256 of its weights.
        image_size: long side that the model sees, in pixels; for results, None where it does not say.
    """

    role: Role = "student"

    def __init__(self, predictor: Any, *, identity: str, image_size: int | None = None) -> None:
        self.predictor = predictor
        self.identity = identity
        encoder = getattr(getattr(predictor, "model", None), "image_encoder", None)
        self.image_size = image_size or getattr(encoder, "img_size", None)
        self._batched = all(hasattr(predictor, name) for name in ("predict_torch", "transform", "device"))
        self._accepted = inspect.signature(predictor.predict_torch if self._batched else predictor.predict).parameters
        self._takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in self._accepted.values())
        self._shape: Shape | None = None

    def set_image(self, image: np.ndarray, /) -> None:
        """Encode an image, (H, W, 3) uint8 RGB."""
        self.predictor.set_image(image)
        self._shape = int(image.shape[0]), int(image.shape[1])

    def predict(self, prompts: Prompts, *, multimask: bool = True) -> Prediction:
        """See `encoders.Predictor.predict`.

        Raises:
            InputError: no image is set, no prompt is given, a mask of an earlier round is given to a predictor that takes none,
                or its answer is no masks, scores and logits of the photo's and the prompts' shape; names the predictor's class.
        """
        if self._shape is None:
            raise InputError("no image is set; call set_image first")
        if (prompts.points is None) != (prompts.labels is None) or (prompts.points is None and prompts.boxes is None):
            raise InputError("no prompt given, or points without labels; pass points with labels, or boxes")
        if prompts.masks is not None and "mask_input" not in self._accepted and not self._takes_any:
            raise InputError(
                f"{type(self.predictor).__name__} takes no mask of an earlier round (mask_input); use suites that feed none "
                "back, e.g. box, point_edgesam or point_efficientvit_sam"
            )
        count, channels = len(prompts), 3 if multimask else 1
        step = PROMPT_CHUNK if self._batched else 1
        parts: list[tuple[np.ndarray, ...]] = []
        for start in range(0, count, step):
            chunk = prompts[start : start + step]
            if self._batched:
                parts.append(self._checked(self._ask_batch(chunk, channels), (min(step, count - start), channels)))
            else:
                parts.append(tuple(part[None] for part in self._checked(self._ask_one(chunk, channels), (channels,))))
        if not parts:
            empty = np.zeros((0, channels, 1, 1), np.float32)
            return Prediction(np.zeros((0, channels, *self._shape), bool), np.zeros((0, channels), np.float32), empty)
        return Prediction(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _ask_batch(self, prompts: Prompts, channels: int) -> Any:
        transform, device = self.predictor.transform, self.predictor.device
        points, labels, boxes, masks = prompts.points, prompts.labels, prompts.boxes, prompts.masks

        def tensor(array: np.ndarray, kind: torch.dtype = torch.float32) -> Tensor:
            return torch.as_tensor(array, dtype=kind, device=device)

        return self.predictor.predict_torch(
            point_coords=None if points is None else tensor(transform.apply_coords(points, self._shape)),
            point_labels=None if labels is None else tensor(labels, torch.int),
            boxes=None if boxes is None else tensor(transform.apply_boxes(boxes, self._shape)),
            mask_input=None if masks is None else tensor(masks),
            **self._options(channels),
            **({"features": self.predictor.features} if "features" in self._accepted else {}),
        )

    def _ask_one(self, prompts: Prompts, channels: int) -> Any:
        first = {kind: array[0] for kind, array in prompts.given.items()}
        fed_back = {"mask_input": first.get("masks")} if "mask_input" in self._accepted or self._takes_any else {}
        return self.predictor.predict(
            point_coords=first.get("points"),
            point_labels=first.get("labels"),
            box=first.get("boxes"),
            **fed_back,
            **self._options(channels),
        )

    def _checked(self, answer: Any, leading: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks bool, scores and logits float32 of an answer, each with the `leading` dimensions: prompts, masks a prompt."""
        who = f"{type(self.predictor).__name__}.{'predict_torch' if self._batched else 'predict'}"
        axes = "P, M" if self._batched else "M"
        if not isinstance(answer, (tuple, list)) or len(answer) != 3:
            what = f"{len(answer)} values" if isinstance(answer, (tuple, list)) else f"a {type(answer).__name__}"
            three = f"masks ({axes}, H, W), scores ({axes}), logits ({axes}, s, s)"
            raise InputError(f"{who} answered {what}; expected three: {three}")
        try:
            found, scores, logits = map(_array, answer)
        except (ValueError, TypeError) as error:
            raise InputError(f"{who} answered what is no arrays of numbers ({error}); expected arrays or tensors") from error
        wanted = (*leading, *(self._shape or ()))
        if found.shape != wanted or scores.shape != leading:
            raise InputError(
                f"{who} answered masks {found.shape} and scores {scores.shape}; expected {wanted} and {leading}: "
                f"{'prompts, ' if self._batched else ''}masks a prompt, height and width of the photo"
            )
        if found.dtype != bool and not np.isin(found, (0, 1)).all():
            raise InputError(f"{who} answered masks of {found.dtype}, not only 0 and 1; expected bool: cut logits at 0")
        if logits.shape[:-2] != leading or logits.shape[-2] != logits.shape[-1]:
            expected = f"({', '.join(map(str, leading))}, s, s)"
            raise InputError(
                f"{who} answered logits {logits.shape}; expected {expected}, the photo in the upper left corner of a square, "
                f"or zeros ({axes}, 1, 1) where there are none"
            )
        return found.astype(bool), scores.astype(np.float32), logits.astype(np.float32)

    def _options(self, channels: int) -> dict[str, Any]:
        """How this predictor is asked for the number of masks."""
        if "num_multimask_outputs" not in self._accepted:
            return {"multimask_output": channels == 3}
        quiet = {"use_stability_score": False} if "use_stability_score" in self._accepted else {}
        return {"num_multimask_outputs": channels, **quiet}


def _array(part: Any) -> np.ndarray:
    """A tensor or whatever NumPy takes, as an array of numbers."""
    if isinstance(part, Tensor):
        part = part.detach().cpu()
        return np.asarray((part.float() if part.dtype == torch.bfloat16 else part).numpy())
    array = np.asarray(part)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"one has the type {array.dtype}")
    return array
