"""Settings of the prompt stage: the prompts that are drawn, and the losses on the masks that they give."""

from typing import Annotated, Literal

from pydantic import Field

from distill.config.mask import TrainableConfig
from distill.config.sections import Frozen, Positive, Share, Weight


class PromptsConfig(Frozen):
    """Prompts of each photo, drawn anew in every epoch.

    `source`: "annotations" takes objects of the cache's annotations, with a click anywhere inside or the box of the mask;
    photos without any get prompts as by "teacher": clicks anywhere on the photo, and boxes of the masks that the teacher
    gives for such clicks. `box_share` of the prompts are boxes, of which `exact_box_share` are not jittered. After the first
    of `rounds` comes a click where the masks of student and teacher differ.
    """

    source: Literal["annotations", "teacher"] = "annotations"
    per_photo: Positive = 8
    box_share: Share = 0.5
    exact_box_share: Share = 0.5
    min_pixels: Positive = 48  # of an annotated object, in pixels of the stored photo
    min_score: Share = 0.5  # predicted IoU of a teacher's mask that gives a box
    rounds: Annotated[int, Field(ge=1, le=8)] = 1
    feed_logits: bool = True  # a round gets the logits of the one before, as in SAM; false: only its clicks, as in EdgeSAM


class PromptLossConfig(Frozen):
    """Weights of the loss terms on masks; a term of weight 0 is not computed."""

    # Soft targets teach how sure the teacher is more than where its masks end: docs/log.md has what each gave.
    targets: Literal["soft", "hard"] = "hard"  # hard: where the teacher's logits are above 0; soft: its masks as probabilities
    teacher: Weight = 1.0  # the masks of the teacher, decoded from its cached embedding for the same prompt
    truth: Weight = 0.0  # the annotated masks
    focal: Weight = 0.0
    bce: Weight = 2.0
    dice: Weight = 1.0
    iou: Weight = 1.0  # squared difference of the predicted IoUs of student and teacher


class StudentPartsConfig(TrainableConfig):
    """Learning-rate factors by part; 0 freezes a part. By default the teacher's prompt encoder and mask decoder stay.

    The statistics of the backbone's BatchNorm are updated where the backbone learns, unless `model.freeze_batchnorm` is set.
    """

    prompt_encoder: Weight = 0.0
    mask_decoder: Weight = 0.0
