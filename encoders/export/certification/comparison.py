"""Deviation of a model's predictions from a reference's."""

from collections import defaultdict

import numpy as np

from encoders.errors import InputError
from encoders.export.certification.certificate import Measures
from encoders.export.certification.reference import (
    Answers,
    Asked,
    PhotoReference,
    Reference,
    ask,
    chosen,
    embed,
    sampled,
    sampled_logits,
)
from encoders.samples.overlap import mask_iou
from encoders.samples.rle import decode_segmentation
from encoders.samples.sample import image_sha256

ENCODER, DECODER = "the exported encoder", "the exported decoder"


def compare(
    predictor: Asked,
    reference: Reference,
    images: dict[str, np.ndarray],
    *,
    embeddings: dict[str, np.ndarray] | None = None,
) -> Measures:
    """Give a model the reference's prompts and measure the differences.

    Args:
        predictor: predictor of the model to be measured.
        images: key -> (H, W, 3) uint8 pixels, for every photo of the reference.
        embeddings: the reference's embeddings by key; without them only the stored samples of their values are compared.

    Raises:
        InputError: a photo's pixels are not those of the reference, the reference is damaged, or the model gives values that
            are not finite.
    """
    errors, differences, cosines = [], [], []
    masks = _Masks()
    for photo in reference.photos:
        image = images[photo.key]
        if image_sha256(image) != photo.sha256:
            raise InputError(f"photo {photo.key} has other pixels than when the reference was made; give the same photos")
        found = embed(predictor, image, of=ENCODER, key=photo.key).astype(np.float64)
        if embeddings is None:
            found, expected = sampled(found), np.asarray(photo.embedding, np.float64)
        else:
            expected = embeddings[photo.key].astype(np.float64)
        if found.shape != expected.shape:
            raise InputError(f"the embedding of photo {photo.key} differs in size from the reference's; export the model again")
        difference = found - expected
        errors.append(np.linalg.norm(difference) / np.linalg.norm(expected))
        differences.append(np.abs(difference).max())
        cosines.append(np.vdot(found, expected) / (np.linalg.norm(found) * np.linalg.norm(expected)))
        masks.add(predictor, photo, shape=(image.shape[0], image.shape[1]))
    return Measures(
        embedding_relative_error=float(np.max(errors)),
        embedding_max_difference=float(np.max(differences)),
        embedding_cosine=float(np.min(cosines)),
        logits_relative_error=masks.logits_relative_error(),
        iou_mean=float(np.mean(masks.ious)),
        iou_min=float(np.min(masks.ious)),
        iou_photo_min=float(np.min(masks.photo_ious)),
        score_max_difference=float(np.max(masks.gaps)),
        prompts=len(masks.ious),
    )


class _Masks:
    """Differences of masks, logits and scores, gathered over photos."""

    def __init__(self) -> None:
        self.ious: list[float] = []
        self.photo_ious: list[float] = []
        self.gaps: list[float] = []
        self._squares: dict[tuple[str, int], np.ndarray] = defaultdict(lambda: np.zeros((2, 4)))

    def add(self, predictor: Asked, photo: PhotoReference, *, shape: tuple[int, int]) -> None:
        """Predict on the photo that was embedded last and add the differences."""
        boxes = np.asarray(photo.boxes, np.float32)
        of_photo: list[float] = []
        for answers in photo.answers:
            found = ask(predictor, answers.question, boxes, shape=shape, of=DECODER, key=photo.key)
            expected_scores = np.asarray(answers.scores)
            if expected_scores.shape != found.scores.shape or len(answers.masks) not in (0, len(boxes)):
                raise InputError(f"the reference of photo {photo.key} is damaged; export the model again")
            self.gaps.append(float(np.abs(found.scores - expected_scores).max()))
            self._add_logits(answers, found.logits, key=photo.key)
            tokens = chosen(answers.question, expected_scores)
            if not answers.masks:
                continue
            of_photo += [
                float(mask_iou(decode_segmentation(rle.model_dump(), shape=shape), masks[token]))
                for rle, masks, token in zip(answers.masks, found.masks, tokens, strict=True)
            ]
        if not of_photo:
            raise InputError(f"the reference of photo {photo.key} holds no mask; export the model again")
        self.ious += of_photo
        self.photo_ious.append(float(np.mean(of_photo)))

    def _add_logits(self, answers: Answers, logits: np.ndarray, *, key: str) -> None:
        if logits.shape[-2:] != (answers.side, answers.side):
            raise InputError(
                f"{DECODER} gives logits of {logits.shape[-2]} x {logits.shape[-1]} on photo {key}, the model gives "
                f"{answers.side} x {answers.side}"
            )
        found = sampled_logits(logits)
        if found.size != len(answers.logits):
            raise InputError(f"the reference of photo {key} is damaged; export the model again")
        expected = np.asarray(answers.logits).reshape(found.shape)
        squares = self._squares[answers.kind, answers.points]
        squares += [((found - expected) ** 2).sum(axis=(0, 2)), (expected**2).sum(axis=(0, 2))]

    def logits_relative_error(self) -> float:
        """|difference| / |logits|, Euclidean over all photos; the largest over kinds of prompts and mask tokens."""
        shares = [difference / np.maximum(expected, 1e-12) for difference, expected in self._squares.values()]
        return float(np.sqrt(np.max(shares)))
