"""The predictor: masks from prompts, both in pixels of the original photo. Suites take a predictor, never a model."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.contract import MASK_STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, resize_image
from encoders.given_embedding import check_embedding, check_shape
from encoders.image_encoders.unpadded import UnpaddedEncoder, rectangle
from encoders.preprocess import normalize_padded, pad_to, pad_to_square
from encoders.prompts import Prompts, check_prompts
from encoders.samples.given_image import check_image, check_images
from encoders.transfer import fetched, sent

PROMPT_CHUNK = 64  # prompts decoded at a time: bounds memory, not results


@dataclass(frozen=True)
class Prediction:
    """A predictor's masks and scores for P prompts; M = 3 with multimask, else 1.

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


class PromptableModel(Protocol):
    """The model interface of a predictor: `encoders.Sam`, or an exported model (`encoders.export.ExportedSam`)."""

    arch: str
    image_size: int
    training: bool

    @property
    def device(self) -> torch.device: ...

    @property
    def image_encoder(self) -> Callable[[Tensor], Tensor]: ...

    @property
    def decode_all(self) -> Callable[..., tuple[Tensor, Tensor]]: ...

    @property
    def decode(self) -> Callable[..., tuple[Tensor, Tensor]]: ...

    def to_masks(self, logits: Tensor, *, shape: Shape) -> Tensor: ...


class Predictor:
    """Predicts masks on an image for P prompts at a time, with an interface like segment-anything's `SamPredictor`.

    Args:
        sam: a model in eval mode (BatchNorm encoders are silently wrong in train mode, so that is an InputError).
        padding: False encodes photos in their own aspect, see `encoders.image_encoders.unpadded`; faster, and nearly the same.
            For RepViT.

    Raises:
        InputError: `sam` is the name of a model; or `padding` is False and the model's encoder cannot do without: the message
            names the part that cannot.
    """

    def __init__(self, sam: PromptableModel, *, padding: bool = True) -> None:
        if isinstance(sam, (str, os.PathLike)):
            raise InputError(f"{os.fspath(sam)!r} was given; expected a model: pass encoders.load({os.fspath(sam)!r})")
        self.sam = sam
        self.padding = padding
        self._unpadded = None if padding else unpadded(sam)
        self._embeddings: Tensor | None = None
        self._shapes: list[Shape] = []

    def to(self, device: torch.device) -> None:
        """Move the model to a device; an exported model stays on its runtime's device."""
        if isinstance(self.sam, torch.nn.Module):
            self.sam.to(device)

    @property
    def image_size(self) -> int:
        return self.sam.image_size

    @property
    def shape(self) -> Shape:
        """(height, width) of the image that is set."""
        self._check_one()
        return self._shapes[0]

    @property
    def embedding(self) -> Tensor:
        """(1, 256, S/16, S/16) of the image that is set."""
        return self._check_one()

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image, (H, W, 3) uint8 RGB.

        Raises:
            InputError: it is something else, see `encoders.samples.given_image`, or the model is in train mode; an image that
                was set before stays.
        """
        self.set_images([check_image(image)])

    def set_images(self, images: Sequence[np.ndarray]) -> None:
        """Encode several images, (H, W, 3) uint8 RGB each, their sizes may differ, in one batch; ask with `predict_images`.

        Raises:
            InputError: as `set_image`; the message has the image's number.
        """
        images = check_images(images)
        if self.sam.training:
            raise InputError("the model is in train mode, where BatchNorm gives other results; call sam.eval() first")
        resized = [resize_image(image, image_size=self.image_size) for image in images]
        with torch.inference_mode():
            self._embeddings = self._encode(resized) if self._unpadded is None else self._encode_apart(resized, self._unpadded)
        self._shapes = [(image.shape[0], image.shape[1]) for image in images]

    def _encode(self, resized: Sequence[np.ndarray]) -> Tensor:
        """Embeddings of images whose long side is S, in padded squares."""
        frame = torch.stack([pad_to_square(image, image_size=self.image_size) for image in resized]).to(self.sam.device)
        return self.sam.image_encoder(normalize_padded(frame, [image.shape[:2] for image in resized]))

    def _encode_apart(self, resized: Sequence[np.ndarray], encoder: UnpaddedEncoder) -> Tensor:
        """Like `_encode`, but in rectangles; images with equal rectangles form a batch."""
        rectangles = [rectangle(image.shape[:2], image_size=self.image_size) for image in resized]
        embeddings: dict[int, Tensor] = {}
        for shape in dict.fromkeys(rectangles):
            own = [number for number, other in enumerate(rectangles) if other == shape]
            frame = torch.stack([pad_to(resized[number], shape=shape) for number in own]).to(self.sam.device)
            encoded = encoder(normalize_padded(frame, [resized[number].shape[:2] for number in own]))
            embeddings.update(zip(own, encoded, strict=True))
        return torch.stack([embeddings[number] for number in range(len(resized))])

    def set_embedding(self, embedding: Tensor, *, shape: Shape) -> None:
        """Use a stored embedding, (1, 256, S/16, S/16) floating-point, of an image of `shape` (height, width).

        It is used in float32.

        Raises:
            InputError: it has another shape or type, or values that are not finite; `shape` is no height and width.
        """
        embedding, shape = check_embedding(embedding, image_size=self.image_size), check_shape(shape)
        self._embeddings, self._shapes = embedding.to(self.sam.device, torch.float32), [shape]

    def predict(self, prompts: Prompts, *, multimask: bool = True) -> Prediction:
        """Masks for P prompts on the image that is set, three a prompt with `multimask`, else one.

        Raises:
            InputError: `prompts` is no `Prompts`, or holds what `Prompts.to_frame` refuses.
        """
        self._check_one()
        return self._predict([check_prompts(prompts)], multimask=multimask)[0]

    def predict_tokens(self, prompts: Prompts) -> Prediction:
        """As `predict`, but M = 4: mask 0 is what `multimask=False` gives, masks 1 to 3 are those of `multimask=True`."""
        self._check_one()
        return self._predict([check_prompts(prompts)], multimask=None)[0]

    def predict_images(self, prompts: Sequence[Prompts], *, multimask: bool = True) -> list[Prediction]:
        """As `predict`, for the prompts of each image that `set_images` was given, decoded together.

        Args:
            prompts: of each image, in pixels of that image; all images with the same kinds and number of points a prompt, each
                with its own number of prompts.

        Raises:
            InputError: as `predict`; or prompts for another number of images.
        """
        if not self._shapes:
            raise InputError("no image is set; call set_images first")
        if len(prompts) != len(self._shapes):
            raise InputError(f"{len(self._shapes)} images are set, prompts are given for {len(prompts)}")
        checked = [check_prompts(given, of=f" of image {number}") for number, given in enumerate(prompts)]
        return self._predict(checked, multimask=multimask)

    @torch.inference_mode()
    def predict_torch(self, *, multimask: bool | None = True, **prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`predict` on tensors: prompts already in the input frame; gives masks, scores, logits on the device.

        With `multimask` None all four mask tokens are returned, as by `predict_tokens`.
        """
        embedding = self._check_one()
        if not prompts:
            raise InputError("no prompt given; pass points with labels, boxes, or masks")
        index = torch.zeros(len(next(iter(prompts.values()))), dtype=torch.long, device=self.sam.device)
        logits, scores = self._decoder(multimask)(embedding, image_index=index, **prompts)
        return self.sam.to_masks(logits, shape=self.shape), scores, logits

    @torch.inference_mode()
    def _predict(self, prompts: Sequence[Prompts], *, multimask: bool | None) -> list[Prediction]:
        """Predict for each image; with `multimask` None all four mask tokens are returned."""
        embeddings = self._embeddings
        if embeddings is None:
            raise InputError("no image is set; call set_image first")
        framed = [
            given.to_frame(shape=shape, image_size=self.image_size)
            for shape, given in zip(self._shapes, prompts, strict=True)
        ]
        joined = {name: sent(value, self.sam.device) for name, value in _join(framed).items()}
        counts = [len(next(iter(given.values()))) for given in framed]
        index = sent(np.arange(len(counts)).repeat(counts), self.sam.device)
        if not len(index):
            return [self._nothing(shape, multimask=multimask) for shape in self._shapes]
        decode, parts = self._decoder(multimask), []
        for start in range(0, len(index), PROMPT_CHUNK):
            rows = slice(start, start + PROMPT_CHUNK)
            chunk = {name: value[rows] for name, value in joined.items()}
            parts.append(decode(embeddings, image_index=index[rows], **chunk))
        logits, scores = (torch.cat(tensors).split(counts) for tensors in zip(*parts, strict=True))
        masks = [self.sam.to_masks(own, shape=shape) for own, shape in zip(logits, self._shapes, strict=True)]
        found = fetched([*masks, *scores, *logits])
        by_kind = (found[start : start + len(masks)] for start in range(0, len(found), len(masks)))
        return [Prediction(*own) for own in zip(*by_kind, strict=True)]

    def _decoder(self, multimask: bool | None) -> Callable[..., tuple[Tensor, Tensor]]:
        return self.sam.decode_all if multimask is None else partial(self.sam.decode, multimask=multimask)

    def _nothing(self, shape: Shape, *, multimask: bool | None) -> Prediction:
        """Return an empty prediction, for no prompts."""
        channels, side = {None: 4, True: 3, False: 1}[multimask], self.image_size // MASK_STRIDE
        return Prediction(
            masks=np.zeros((0, channels, *shape), bool),
            scores=np.zeros((0, channels), np.float32),
            logits=np.zeros((0, channels, side, side), np.float32),
        )

    def _check_one(self) -> Tensor:
        """Return the embedding of the single image that is set."""
        if self._embeddings is None:
            raise InputError("no image is set; call set_image first")
        if len(self._shapes) != 1:
            raise InputError(f"{len(self._shapes)} images are set; ask for their masks with predict_images")
        return self._embeddings


def unpadded(sam: PromptableModel) -> UnpaddedEncoder:
    """Wrap a model's image encoder so that it takes rectangles.

    Raises:
        InputError: it cannot; the message says why.
    """
    encoder = sam.image_encoder
    if not isinstance(encoder, torch.nn.Module):
        raise InputError(f"{sam.arch} was exported and takes what it was exported for; leave padding on")
    return UnpaddedEncoder(encoder, image_size=sam.image_size)


def _join(framed: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Concatenate the prompts of several images."""
    kinds = [{name: value.shape[1:] for name, value in prompts.items()} for prompts in framed]
    if any(kind != kinds[0] for kind in kinds):
        raise InputError(f"images must be prompted in the same way, with as many points a prompt; got {kinds}")
    return {name: np.concatenate([prompts[name] for prompts in framed]) for name in kinds[0]}
