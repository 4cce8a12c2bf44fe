"""Reference predictions of the unfused PyTorch model on the certificate's photos, stored next to the artefact.

`reference.json` holds the photos' checksums, prompts, masks as RLE and a sample of the values of embeddings and logits, so
that a machine without the checkpoint can check the artefact again.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from encoders.errors import InputError
from encoders.export.certification.certificate import Finite, Sha256
from encoders.export.certification.questions import Kind, Question, boxes_of, prompts_of
from encoders.files import atomic_path, read_bounded
from encoders.predictor import Prediction
from encoders.prompts import Prompts
from encoders.samples.rle import encode_mask
from encoders.samples.sample import Sample, image_sha256

REFERENCE = "reference.json"
MAX_BYTES = 2**28
SAMPLED = 1024  # values of an embedding that are stored
PLACES = 32  # positions of each mask's logits that are stored
DIGITS = 7  # significant digits of a stored value

Four = Annotated[list[Finite], Field(min_length=4, max_length=4)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rle(_Record):
    """A mask as COCO writes it."""

    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    counts: str


class Answers(_Record):
    """The model's prediction for one question about a photo.

    Attributes:
        kind, points: see `Question`.
        side: S/4, height and width of the logits in pixels.
        scores: predicted IoU of each of the four masks of P prompts.
        logits: sampled logits (P, 4, `PLACES`), flattened, at positions that depend on `side` alone.
        masks: for plain boxes and clicks, whose masks are compared by IoU, the mask that SAM returns for each prompt; empty
            for other questions.
    """

    kind: Kind
    points: int = Field(ge=2)
    side: int = Field(ge=1)
    scores: list[Four]
    logits: list[Finite]
    masks: list[Rle]

    @property
    def question(self) -> Question:
        """Return the question."""
        return Question(kind=self.kind, points=self.points)


class PhotoReference(_Record):
    """A photo, its prompts and the model's answers.

    Attributes:
        boxes: (P, 4) xyxy in pixels of the photo; all prompts are made from them.
        embedding: `SAMPLED` values of the embedding, at positions that depend on its size alone.
    """

    key: str
    sha256: Sha256
    boxes: Annotated[list[Four], Field(min_length=1)]
    embedding: list[Finite]
    answers: Annotated[list[Answers], Field(min_length=1)]


class Reference(_Record):
    """The reference predictions on all photos."""

    photos: Annotated[list[PhotoReference], Field(min_length=1)]


class Asked(Protocol):
    """A predictor whose embedding can be read, such as `encoders.Predictor`."""

    @property
    def embedding(self) -> Any: ...

    @property
    def image_size(self) -> int: ...

    def set_image(self, image: np.ndarray) -> None: ...

    def predict_tokens(self, prompts: Prompts) -> Prediction: ...


def make_reference(
    predictor: Asked, samples: Sequence[Sample], *, asked: Sequence[Question]
) -> tuple[Reference, dict[str, np.ndarray]]:
    """Return the model's predictions on photos, and its embeddings by key, (1, 256, S/16, S/16) float32.

    Raises:
        InputError: there is no photo, two have the same key, or the model gives values that are not finite.
    """
    check_samples(samples)
    photos: list[PhotoReference] = []
    embeddings: dict[str, np.ndarray] = {}
    for sample in samples:
        boxes = boxes_of(sample)
        embeddings[sample.key] = embed(predictor, sample.image, of="the model's encoder", key=sample.key)
        answers = []
        plainest = min(question.points for question in asked)
        for question in asked:
            by_iou = question.points == plainest and question.kind != "mask"
            found = ask(predictor, question, boxes, shape=sample.shape, of="the model's decoder", key=sample.key)
            answers.append(
                Answers(
                    kind=question.kind,
                    points=question.points,
                    side=found.logits.shape[-1],
                    scores=found.scores.tolist(),
                    logits=kept(sampled_logits(found.logits)),
                    masks=[
                        Rle(**encode_mask(masks[token]))
                        for masks, token in zip(found.masks, chosen(question, found.scores), strict=True)
                    ]
                    if by_iou
                    else [],
                )
            )
        photos.append(
            PhotoReference(
                key=sample.key,
                sha256=image_sha256(sample.image),
                boxes=boxes.tolist(),
                embedding=kept(sampled(embeddings[sample.key])),
                answers=answers,
            )
        )
    return Reference(photos=photos), embeddings


def check_samples(samples: Sequence[Sample]) -> None:
    """Check that there are photos to certify on and that their keys are unique.

    Raises:
        InputError: there are none, or two have the same key.
    """
    if not samples:
        raise InputError("no photo to certify on; give at least one")
    seen: set[str] = set()
    for sample in samples:
        if sample.key in seen:
            raise InputError(f"two photos of the certificate are called {sample.key!r}; give photos of different names")
        seen.add(sample.key)


def embed(predictor: Asked, image: np.ndarray, *, of: str, key: str) -> np.ndarray:
    """Return the embedding of a photo; after this call, `ask` can be used on the photo.

    Args:
        of: name of the model, and key: name of the photo, for messages.

    Raises:
        InputError: it holds values that are not finite, or only zeros.
    """
    predictor.set_image(image)
    found = np.asarray(predictor.embedding.cpu().numpy())
    if not np.isfinite(found).all():
        raise InputError(f"{of} gives values that are not finite on photo {key}; give a model whose outputs are finite")
    if not found.any():
        raise InputError(f"{of} gives nothing but zeros on photo {key}; give a trained model")
    return found


def ask(predictor: Asked, question: Question, boxes: np.ndarray, *, shape: tuple[int, int], of: str, key: str) -> Prediction:
    """Return the answers to a question about the photo that was embedded last.

    Raises:
        InputError: logits or scores are not finite.
    """
    found = predictor.predict_tokens(prompts_of(question, boxes, shape=shape, image_size=predictor.image_size))
    if not (np.isfinite(found.logits).all() and np.isfinite(found.scores).all()):
        raise InputError(f"{of} gives values that are not finite on photo {key}; give a model whose outputs are finite")
    return found


def chosen(question: Question, scores: np.ndarray) -> np.ndarray:
    """Return the mask token with which SAM answers each prompt, (P,): the single one, or for a click the best of the others.

    Args:
        scores: (P, 4) predicted IoU.
    """
    single = question.kind != "click" or question.points > 2
    return np.zeros(len(scores), np.int64) if single else 1 + scores[:, 1:].argmax(axis=1)


def sampled(embedding: np.ndarray) -> np.ndarray:
    """Return `SAMPLED` values of an embedding, float64, at positions that depend on its size alone."""
    flat = embedding.reshape(-1)
    places = np.random.default_rng(flat.size).choice(flat.size, size=min(SAMPLED, flat.size), replace=False)
    return flat[places].astype(np.float64)


def sampled_logits(logits: np.ndarray) -> np.ndarray:
    """(P, 4, h, w) -> (P, 4, `PLACES`) float64, at positions that depend on h and w alone."""
    flat = logits.reshape(*logits.shape[:2], -1)
    size = flat.shape[-1]
    places = np.random.default_rng(size).choice(size, size=min(PLACES, size), replace=False)
    return flat[..., places].astype(np.float64)


def kept(values: np.ndarray) -> list[float]:
    """Return values as they are stored: flattened, with `DIGITS` significant digits."""
    return [float(f"{value:.{DIGITS}g}") for value in values.reshape(-1).tolist()]


def write_reference(reference: Reference, folder: Path) -> None:
    """Write `reference.json`."""
    with atomic_path(folder / REFERENCE) as temporary:
        temporary.write_text(json.dumps(reference.model_dump(mode="json")), encoding="utf-8")


def read_reference(folder: Path) -> Reference:
    """Read the stored reference of an exported folder.

    Raises:
        InputError: it is missing or damaged.
    """
    path = folder / REFERENCE
    content = read_bounded(path, max_bytes=MAX_BYTES, name=str(path))
    try:
        return Reference.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {error.errors()[0]['msg']}; export the model again") from error
