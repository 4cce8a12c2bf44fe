"""How a detector's boxes become masks with scores: the published ways, each by name and version.

Papers on light SAMs report "COCO AP" after different protocols, and the same model differs by four points between them. Each
description says what its authors state and what is inferred, so that a number here can be held against theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from encoders.geometry import Shape
from encoders.prompts import Prompts
from eval_zeroshot.predictors.protocol import PredictorLike, ask


@dataclass(frozen=True, kw_only=True)
class BoxAnswers:
    """What a model made of P boxes: masks (P, H, W) bool and the IoU (P,) that it predicts for them."""

    masks: np.ndarray
    predicted_ious: np.ndarray


@dataclass(frozen=True, kw_only=True)
class InstanceProtocol:
    """One way from boxes to masks.

    Attributes:
        name, version: what results carry; a change of any number it gives is another version.
        stated: what its authors say or their code does, and where.
        inferred: what they do not say and is done here.
        answer: (predictor with the photo set, its (height, width), boxes (P, 4) xyxy in pixels) -> answers.
        scores_by_iou: whether a result's score is the detector's times the predicted IoU, or the detector's alone.
        most_boxes: boxes of one photo that are used, best first; None uses all.
    """

    name: str
    version: str
    stated: str
    inferred: str
    answer: Callable[[PredictorLike, Shape, np.ndarray], BoxAnswers]
    scores_by_iou: bool = False
    most_boxes: int | None = None

    @property
    def description(self) -> str:
        """Both halves in one line."""
        return f"stated: {self.stated}; inferred: {self.inferred}"


def single_mask(predictor: PredictorLike, shape: Shape, boxes: np.ndarray) -> BoxAnswers:
    """The single mask output, SAM's mask token 0."""
    masks, ious, _ = ask(predictor, Prompts(boxes=boxes), shape=shape, multimask=False)
    return BoxAnswers(masks=masks[:, 0], predicted_ious=ious[:, 0])


def most_confident(predictor: PredictorLike, shape: Shape, boxes: np.ndarray) -> BoxAnswers:
    """Of three masks the one with the highest predicted IoU."""
    masks, ious, _ = ask(predictor, Prompts(boxes=boxes), shape=shape, multimask=True)
    every, best = np.arange(len(ious)), ious.argmax(axis=1)
    return BoxAnswers(masks=masks[every, best], predicted_ious=ious[every, best])


def refined_once(predictor: PredictorLike, shape: Shape, boxes: np.ndarray) -> BoxAnswers:
    """The box again, with the logits of the most confident of three masks; the single mask output of that."""
    _, ious, logits = ask(predictor, Prompts(boxes=boxes), shape=shape, multimask=True)
    best = logits[np.arange(len(ious)), ious.argmax(axis=1)][:, None]
    masks, ious, _ = ask(predictor, Prompts(boxes=boxes, masks=best), shape=shape, multimask=False)
    return BoxAnswers(masks=masks[:, 0], predicted_ious=ious[:, 0])


PROTOCOLS: dict[str, InstanceProtocol] = {
    protocol.name: protocol
    for protocol in (
        InstanceProtocol(
            name="sam",
            version="1",
            stated="the box, then one further round with the box and the most confident mask fed back (SAM, appendix D.4)",
            inferred="the most confident of three masks is fed back as logits, the round's single mask output counts, the "
            "score is the detector's, all boxes are used",
            answer=refined_once,
        ),
        InstanceProtocol(
            name="edgesam",
            version="1",
            stated="the first mask token, no further round (EdgeSAM, README)",
            inferred="the score is the detector's, all boxes are used",
            answer=single_mask,
        ),
        InstanceProtocol(
            name="efficientvit_sam",
            version="1",
            stated="of three masks the one with the highest predicted IoU, the detector's score and category, all boxes "
            "(EfficientViT-SAM, eval_efficientvit_sam_model.py)",
            inferred="nothing",
            answer=most_confident,
        ),
        InstanceProtocol(
            name="repvit_sam",
            version="1",
            stated="nothing: its evaluation was not released, nor its detector named",
            inferred="single mask output, score = detector's score x predicted IoU, the 300 best boxes of a photo, as in "
            "Prompt-Segment-Anything, whose numbers for SAM ViT-B and ViT-H with H-Deformable-DETR Swin-L equal RepViT-SAM's",
            answer=single_mask,
            scores_by_iou=True,
            most_boxes=300,
        ),
    )
}
