"""Codec fidelity: the error of coded embeddings and of the masks decoded from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from encoders.geometry import Shape, embedding_shape, scale_boxes
from encoders.predictor import Predictor
from encoders.prompts import Prompts
from encoders.sam import Sam
from encoders.samples.overlap import mask_iou

GRID = 4  # points along each side of the grid used for photos without boxes
BOXES = 16  # most boxes used per photo


@dataclass(frozen=True, kw_only=True)
class EmbeddingPair:
    """One photo's embedding before and after coding.

    Attributes:
        raw: (256, S/16, S/16) float32, as the teacher gave it.
        coded: the same after encoding and decoding; 0 on padding, which no codec stores.
        shape: (height, width) of the stored photo in the input frame, pixels.
        boxes: (P, 4) float32 xyxy in the input frame, pixels, used as prompts; if empty, a grid of points is used.
    """

    raw: np.ndarray
    coded: np.ndarray
    shape: Shape
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Measured fidelity of coded embeddings; errors on padding are not counted.

    Attributes:
        samples, prompts: number of samples and prompts measured.
        relative_mse: squared error as a share of the embedding's energy; mean over samples.
        cosine: between raw and coded vector of a position; mean over positions, then over samples.
        mask_iou: between the masks decoded from raw and from coded embedding; mean over prompts. A box gives one
            mask; of a point's three, the one with the highest predicted IoU on the raw embedding is compared.
        mask_iou_error: standard error of that mean, assuming independent prompts; 0 for a single prompt.
        score_difference: absolute difference of the predicted IoU of those masks; mean over prompts.
    """

    samples: int
    prompts: int
    relative_mse: float
    cosine: float
    mask_iou: float
    mask_iou_error: float
    score_difference: float


def measure_fidelity(comparisons: Iterable[EmbeddingPair], *, teacher: Sam) -> Fidelity:
    """Compare raw and coded embeddings, and the masks that the teacher's decoder predicts from them.

    Raises:
        ValueError: there is nothing to compare.
    """
    predictor = Predictor(teacher)
    errors: list[float] = []
    cosines: list[float] = []
    ious: list[float] = []
    differences: list[float] = []
    for comparison in comparisons:
        rows, columns = embedding_shape(comparison.shape)
        raw, coded = (e[:, :rows, :columns].astype(np.float64) for e in (comparison.raw, comparison.coded))
        errors.append(_share(((coded - raw) ** 2).sum(), (raw**2).sum()))
        cosines.append(_cosine(raw, coded))
        iou, difference = _compare_masks(predictor, comparison)
        ious.extend(iou)
        differences.extend(difference)
    if not errors:
        raise ValueError("no embedding to compare")
    return Fidelity(
        samples=len(errors),
        prompts=len(ious),
        relative_mse=float(np.mean(errors)),
        cosine=float(np.mean(cosines)),
        mask_iou=float(np.mean(ious)),
        mask_iou_error=float(np.std(ious, ddof=1) / len(ious) ** 0.5) if len(ious) > 1 else 0.0,
        score_difference=float(np.mean(differences)),
    )


def stored_boxes(facts: dict[str, Any], *, image_size: int) -> np.ndarray:
    """Return the boxes of a sample's annotations, without crowds and empty boxes: (P, 4) float32 xyxy in the input frame."""
    found = [a["bbox"] for a in facts["annotations"] if not a["iscrowd"] and min(a["bbox"][2:]) > 0][:BOXES]
    boxes = np.asarray(found, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return scale_boxes(boxes, shape=(facts["height"], facts["width"]), image_size=image_size)


def _compare_masks(predictor: Predictor, comparison: EmbeddingPair) -> tuple[np.ndarray, np.ndarray]:
    """Return mask IoU and score difference, (P,) each."""
    coded = comparison.raw.copy()  # students are not trained on padding; the decoder sees the teacher's values there
    rows, columns = embedding_shape(comparison.shape)
    coded[:, :rows, :columns] = comparison.coded[:, :rows, :columns]
    prompts = _prompts(comparison)
    answers = []
    for embedding in (comparison.raw, coded):
        predictor.set_embedding(torch.from_numpy(embedding)[None], shape=comparison.shape)
        answers.append(predictor.predict(prompts, multimask=prompts.boxes is None))
    raw, other = answers
    each, best = np.arange(len(raw.scores)), raw.scores.argmax(axis=1)
    ious = mask_iou(raw.masks[each, best], other.masks[each, best])
    return ious, np.abs(raw.scores[each, best] - other.scores[each, best])


def _prompts(comparison: EmbeddingPair) -> Prompts:
    if len(comparison.boxes):
        return Prompts(boxes=comparison.boxes)
    height, width = comparison.shape
    centres = (np.arange(GRID) + 0.5) / GRID
    points = np.stack(np.meshgrid(centres * width, centres * height), axis=-1).reshape(-1, 1, 2)
    return Prompts(points=points.astype(np.float32), labels=np.ones(points.shape[:2], np.int64))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float(part > 0)


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    lengths = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    products = (first * second).sum(axis=0)
    return float(np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), 1.0).mean())

