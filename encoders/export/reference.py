"""What the unfused PyTorch model says on the certificate's photos, to be compared with and to be kept beside the artefact.

The kept file, `reference.json`, holds the photos' checksums, prompts, masks as RLE and a sample of each embedding, so that a
machine without the checkpoint can check the artefact again.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError
from encoders.export.certificate import Finite, Measures, Sha256
from encoders.files import atomic_path, read_bounded
from encoders.overlap import mask_iou
from encoders.predictor import Prediction, Predictor
from encoders.rle import decode_segmentation, encode_mask
from encoders.sample import Sample, image_sha256

REFERENCE = "reference.json"
MAX_BYTES = 2**28
MAX_OBJECTS = 4  # of a photo, the largest ones
SAMPLED = 1024  # values of an embedding
FOREGROUND = 1

Four = Annotated[list[Finite], Field(min_length=4, max_length=4)]
Two = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class Rle(BaseModel):
    """A mask as COCO writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    counts: str


class PhotoReference(BaseModel):
    """A photo, its prompts and the model's answers.

    Attributes:
        boxes: (P, 4) xyxy, points: (Q, 2) xy, both in pixels of the photo.
        box_masks: the single mask of each box; point_masks: of the three of each point the one of highest predicted IoU.
        box_scores, point_scores: predicted IoU of each of the four masks.
        embedding: `SAMPLED` values of it, at places that depend on its size alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str
    sha256: Sha256
    boxes: list[Four]
    points: list[Two]
    box_masks: list[Rle]
    point_masks: list[Rle]
    box_scores: list[Four]
    point_scores: list[Four]
    embedding: list[Finite]


class Reference(BaseModel):
    """All photos."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    photos: Annotated[list[PhotoReference], Field(min_length=1)]


class Encodes(Protocol):
    """A predictor whose embedding can be read, as `encoders.Predictor`."""

    @property
    def embedding(self) -> Any: ...

    def set_image(self, image: np.ndarray) -> None: ...

    def predict_tokens(self, points: Any = None, labels: Any = None, boxes: Any = None) -> Prediction: ...


def prompts_of(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (P, 4) of a photo's largest objects and a point (P, 2) in the middle of each box; of a photo without objects,
    three boxes at fixed places."""
    order = np.argsort(-sample.areas, kind="stable")[:MAX_OBJECTS]
    boxes = sample.boxes[order]
    if not len(boxes):
        height, width = sample.shape
        shares = np.asarray([[0.1, 0.1, 0.5, 0.6], [0.4, 0.2, 0.9, 0.8], [0.3, 0.5, 0.7, 0.95]])
        boxes = (shares * [width, height, width, height]).astype(np.float32)
    return boxes, (boxes[:, :2] + boxes[:, 2:]) / 2


def make_reference(predictor: Predictor, samples: Sequence[Sample]) -> tuple[Reference, dict[str, np.ndarray]]:
    """What the model answers on photos, and its embeddings by key, (1, 256, S/16, S/16) float32.

    Raises:
        InputError: no photo, or two of one key.
    """
    if not samples:
        raise InputError("no photo to certify on; give at least one")
    photos, embeddings = [], {}
    for sample in samples:
        if sample.key in embeddings:
            raise InputError(f"two photos of the certificate are called {sample.key!r}; give photos of different names")
        boxes, points = prompts_of(sample)
        predictor.set_image(sample.image)
        embeddings[sample.key] = predictor.embedding.cpu().numpy()
        by_box, by_point = _ask(predictor, boxes=boxes, points=points)
        chosen = 1 + by_point.scores[:, 1:].argmax(axis=1)
        photos.append(
            PhotoReference(
                key=sample.key,
                sha256=image_sha256(sample.image),
                boxes=boxes.tolist(),
                points=points.tolist(),
                box_masks=[Rle(**encode_mask(masks[0])) for masks in by_box.masks],
                point_masks=[Rle(**encode_mask(m[i])) for m, i in zip(by_point.masks, chosen, strict=True)],
                box_scores=by_box.scores.tolist(),
                point_scores=by_point.scores.tolist(),
                embedding=sampled(embeddings[sample.key]).tolist(),
            )
        )
    return Reference(photos=photos), embeddings


def compare(
    predictor: Encodes,
    reference: Reference,
    images: dict[str, np.ndarray],
    *,
    embeddings: dict[str, np.ndarray] | None = None,
) -> Measures:
    """How far a model's answers lie from a reference's.

    Args:
        predictor: of the model in question.
        images: key -> (H, W, 3) uint8 of every photo of the reference.
        embeddings: the reference's by key; without them the kept sample of each is compared.

    Raises:
        InputError: a photo's pixels are not those of the reference, or the model gives values that are not finite.
    """
    errors, differences, cosines, photo_ious, ious, gaps = [], [], [], [], [], []
    for photo in reference.photos:
        image = images[photo.key]
        if image_sha256(image) != photo.sha256:
            raise InputError(f"photo {photo.key} has other pixels than the reference was made of; give the same photos")
        predictor.set_image(image)
        found = np.asarray(predictor.embedding.cpu().numpy(), np.float64)
        if not np.isfinite(found).all():
            raise InputError(f"the exported encoder gives values that are not finite on photo {photo.key}")
        if embeddings is None:
            found, expected = sampled(found), np.asarray(photo.embedding, np.float64)
        else:
            expected = embeddings[photo.key].astype(np.float64)
        difference = found - expected
        errors.append(np.linalg.norm(difference) / np.linalg.norm(expected))
        differences.append(np.abs(difference).max())
        cosines.append(np.vdot(found, expected) / (np.linalg.norm(found) * np.linalg.norm(expected)))
        own, gap = _compare_masks(predictor, photo, shape=(image.shape[0], image.shape[1]))
        ious += own
        photo_ious.append(np.mean(own))
        gaps.append(gap)
    return Measures(
        embedding_relative_error=float(max(errors)),
        embedding_max_difference=float(max(differences)),
        embedding_cosine=float(min(cosines)),
        iou_mean=float(np.mean(ious)),
        iou_min=float(min(ious)),
        iou_photo_min=float(min(photo_ious)),
        score_max_difference=float(max(gaps)),
        prompts=len(ious),
    )


def _compare_masks(predictor: Encodes, photo: PhotoReference, *, shape: tuple[int, int]) -> tuple[list[float], float]:
    """IoU of each prompt's mask, and the largest difference of predicted IoU."""
    by_box, by_point = _ask(predictor, boxes=np.asarray(photo.boxes), points=np.asarray(photo.points))
    expected_scores = np.asarray(photo.point_scores)
    chosen = 1 + expected_scores[:, 1:].argmax(axis=1)
    pairs = [(rle, masks[0]) for rle, masks in zip(photo.box_masks, by_box.masks, strict=True)]
    pairs += [(rle, masks[i]) for rle, masks, i in zip(photo.point_masks, by_point.masks, chosen, strict=True)]
    ious = [float(mask_iou(decode_segmentation(rle.model_dump(), shape=shape), mask)) for rle, mask in pairs]
    gaps = (np.abs(by_box.scores - np.asarray(photo.box_scores)).max(), np.abs(by_point.scores - expected_scores).max())
    return ious, float(max(gaps))


def _ask(predictor: Encodes, *, boxes: np.ndarray, points: np.ndarray) -> Iterator[Prediction]:
    """Answers to boxes, then to single foreground points."""
    yield predictor.predict_tokens(boxes=boxes)
    yield predictor.predict_tokens(points=points[:, None], labels=np.full((len(points), 1), FOREGROUND))


def sampled(embedding: np.ndarray) -> np.ndarray:
    """`SAMPLED` values of an embedding, at places that depend on its size alone."""
    flat = embedding.reshape(-1)
    places = np.random.default_rng(flat.size).choice(flat.size, size=min(SAMPLED, flat.size), replace=False)
    return flat[places].astype(np.float64)


def write_reference(reference: Reference, folder: Path) -> None:
    """Write `reference.json`."""
    with atomic_path(folder / REFERENCE) as temporary:
        temporary.write_text(json.dumps(reference.model_dump(mode="json")), encoding="utf-8")


def read_reference(folder: Path) -> Reference:
    """The kept reference of an exported folder.

    Raises:
        InputError: it is missing or damaged.
    """
    path = folder / REFERENCE
    content = read_bounded(path, max_bytes=MAX_BYTES, name=str(path))
    try:
        return Reference.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {error.errors()[0]['msg']}; export the model again") from error
