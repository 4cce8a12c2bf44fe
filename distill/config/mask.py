"""Settings of the mask stage: its data, prompts and losses."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.config.sections import Count, Frozen, Positive, Seed, Share, Weight

Scale = Annotated[float, Field(gt=0, le=100)]


class CocoSet(Frozen):
    """Photos with instance masks in COCO format."""

    kind: Literal["coco"]
    annotations: str
    images: str | None = None
    repeat: Positive = 1


class BsdsSet(Frozen):
    """BSDS500 photos; every region of every annotator is an object."""

    kind: Literal["bsds"]
    folder: str
    split: Literal["train", "val", "test"] = "train"
    repeat: Positive = 1


class ShapesSet(Frozen):
    """Drawn scenes with exact masks; see `distill.mask_stage.drawn_scenes`."""

    kind: Literal["shapes"]
    count: Positive
    size: Annotated[int, Field(ge=64)] = 512
    seed: Seed = 0


class MaskDataConfig(Frozen):
    """Photo sources of the mask stage, and the sampling of views and prompts.

    `scale` is the range of the photo's long side after scaling, as a multiple of the image size; `paste_objects` come
    from another photo; `box_share` of the prompts are boxes (`exact_box_share` of them without jitter), the rest points
    (`centre_share` of them at the centre, the rest anywhere inside).
    """

    sets: Annotated[list[Annotated[CocoSet | BsdsSet | ShapesSet, Field(discriminator="kind")]], Field(min_length=1)]
    num_workers: Count = 1
    prompts_per_photo: Positive = 16
    scale: tuple[Scale, Scale] = (1.0, 1.0)
    max_masks: Positive = 16
    min_pixels: Positive = 48
    paste_probability: Share = 0.0
    paste_objects: Positive = 3
    colour: Share = 0.0
    box_share: Share = 0.5
    exact_box_share: Share = 0.5
    centre_share: Share = 0.5

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> "MaskDataConfig":
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {list(self.scale)} ends below its start; give the smaller number first")
        return self


class MaskLossConfig(Frozen):
    """Weights of the loss terms; a term of weight 0 is not computed."""

    focal: Weight = 0.0
    bce: Weight = 2.0
    # Masks are cut at logit 0, where a cell is object with probability 1 / (1 + bce_object): at 0.5 an uncertain mask is cut
    # too small for its IoU; docs/log.md has what it costs.
    bce_object: Annotated[float, Field(ge=0.1, le=10)] = 1.0  # cross-entropy of object cells relative to others
    dice: Weight = 1.0
    iou: Weight = 1.0  # squared error of the predicted IoU
    multimask: Weight = 1.0  # the best of three masks, relative to the single mask
    refine: Weight = 0.0  # a second round with a click in the error region and the first round's logits
    refine_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the prompts get the second round


class TrainableConfig(Frozen):
    """Learning-rate factors by part; 0 freezes a part. BatchNorm statistics of the backbone are never updated."""

    backbone: Weight = 1.0
    neck: Weight = 1.0
    prompt_encoder: Weight = 1.0
    mask_decoder: Weight = 1.0
