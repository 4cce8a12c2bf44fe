"""The mask stage as a task of the training loop."""

from collections.abc import Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset

import encoders
from distill.config.mask import BsdsSet, MaskDataConfig, ShapesSet
from distill.config.models import in_words_of_config
from distill.config.runs import MaskRun
from distill.mask_stage.backbone_weights import load_efficientnet_lite0
from distill.mask_stage.data import MaskBatch, Photos, PromptedPhotos, StepSampler, mask_batches
from distill.mask_stage.drawn_scenes import Shapes
from distill.mask_stage.model import PromptedSam
from distill.mask_stage.parts import freeze_parts, parameter_groups
from distill.mask_stage.prompt_prior import start_at_the_prompt
from encoders.errors import InputError
from encoders.image_encoders.timm_features import TimmFeaturesEncoder
from encoders.samples.coco import CocoDataset
from eval_zeroshot.datasets.bsds import BsdsDataset
from shards import Manifest


class MaskTask:
    """Train a whole SAM from photos with masks, prompts in the loop.

    Args:
        batch_size: photos per step on this rank.
    """

    batchnorm_learns = False
    measured_names: tuple[str, ...] = ()
    manifest: Manifest | None = None
    facts: dict[str, Any] = {}

    def __init__(self, config: MaskRun, *, batch_size: int, rank: int, world_size: int) -> None:
        self.config = config
        self.module = PromptedSam(starting_sam(config), weights=config.mask_loss)
        weights = config.mask_loss
        self.loss_names = ("mask", *(name for name in ("multimask", "iou", "refine") if getattr(weights, name)))
        self.factors = config.trainable.model_dump()
        freeze_parts(self.module.sam, factors=self.factors)
        self.num_workers = config.mask_data.num_workers
        self.data = PromptedPhotos(
            open_photos(config.mask_data), image_size=config.model.image_size, seed=config.seed, config=config.mask_data
        )
        self._sampling: dict[str, int] = {
            "photos": len(self.data.photos),
            "batch_size": batch_size,
            "rank": rank,
            "world_size": world_size,
        }
        self.steps_per_epoch = StepSampler(**self._sampling, start_step=0).steps_per_epoch

    @property
    def image_encoder(self) -> nn.Module:
        """The model's image encoder."""
        return self.module.sam.image_encoder

    def batches(self, *, start_step: int) -> Generator[MaskBatch, None, None]:
        """Yield this rank's batches endlessly, starting at a global step."""
        sampler = StepSampler(**self._sampling, start_step=start_step)
        return mask_batches(self.data, sampler=sampler, num_workers=self.num_workers)

    def losses(self, engine: nn.Module, batch: MaskBatch) -> dict[str, Tensor]:
        """Return the named, weighted loss terms of one batch."""
        return engine(batch)

    def remark(self, measured: Mapping[str, float]) -> str | None:
        """Return None: nothing is counted."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the trainable parameters by part, each with its learning-rate factor."""
        return parameter_groups(self.module.sam, factors=self.factors)

    def sam(self, state_dict: Mapping[str, Tensor]) -> encoders.Sam:
        """Return the model of a state dict of `module`."""
        sam = encoders.build_sam(self.config.model.arch, image_size=self.config.model.image_size)
        sam.load_state_dict({name.removeprefix("sam."): value for name, value in state_dict.items()})
        return sam


def starting_sam(config: MaskRun) -> encoders.Sam:
    """Return the initial model; `init` is a checkpoint, "efficientnet_lite0" or unset."""
    torch.manual_seed(config.seed)
    model = config.model
    if model.init in (None, "efficientnet_lite0"):
        sam = encoders.build_sam(model.arch, image_size=model.image_size)
        if model.init == "efficientnet_lite0":
            if not isinstance(sam.image_encoder, TimmFeaturesEncoder):
                raise InputError(f"model.init efficientnet_lite0 fits sam_demo, not {model.arch}")
            load_efficientnet_lite0(sam.image_encoder)
        start_at_the_prompt(sam, seed=config.seed)
        return sam
    with in_words_of_config("model.init", arch_key="model.arch"):
        return encoders.load(str(model.init), arch=model.arch, image_size=model.image_size)


def open_photos(config: MaskDataConfig) -> Photos:
    """Open and concatenate the data sets of a config, each with its number of repetitions."""
    sets: list[Any] = []
    for entry in config.sets:
        if isinstance(entry, BsdsSet):
            sets += [BsdsDataset(entry.folder, split=entry.split)] * entry.repeat
        elif isinstance(entry, ShapesSet):
            sets.append(Shapes(count=entry.count, size=entry.size, seed=entry.seed))
        else:
            sets += [CocoDataset(entry.annotations, images=entry.images)] * entry.repeat
    return ConcatDataset(sets)
