"""The prompt stage as a task of the training loop."""

from collections.abc import Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import encoders
from distill.config.runs import PromptRun
from distill.embedding_task import cache_loader, channel_scale, checked_decoder, teacher_decoder
from distill.frozen_batchnorm import freeze_batchnorm
from distill.losses import loss_names
from distill.mask_stage.parts import freeze_parts, parameter_groups
from distill.prompt_stage.batch import PromptedBatch
from distill.prompt_stage.drawing import DrawPrompts
from distill.prompt_stage.model import DRAWN, KEPT, PromptedStudent
from distill.starting_point import starting_point
from encoders.sam import Sam
from shards import Manifest, ShardLoader

FEW_KEPT, ENOUGH_DRAWN = 0.25, 200  # share and number of boxes from the teacher's masks


class PromptTask:
    """Distil masks: the student's embedding and the teacher's cached one give masks for the same prompts.

    Args:
        batch_size: photos per step on this rank.

    Raises:
        InputError: the cache is missing or was made by another teacher or at another image size, or the teacher or the
            initial weights cannot be loaded.
    """

    def __init__(self, config: PromptRun, *, batch_size: int, rank: int, world_size: int) -> None:
        self.config = config
        self.loader = prompt_loader(config, batch_size=batch_size, rank=rank, world_size=world_size)
        self.manifest: Manifest | None = self.loader.manifest
        self.steps_per_epoch = self.loader.steps_per_epoch
        embedding, weights = loss_names(config.loss) if config.loss else (), config.mask_loss
        terms = {"mask": weights.teacher, "truth": weights.truth, "iou": weights.iou}
        self.loss_names = (*embedding, *(name for name, weight in terms.items() if weight))
        self.measured_names: tuple[str, ...] = (DRAWN, KEPT) if config.prompts.box_share else ()
        self._drawn = self._kept = 0.0
        self.factors = config.trainable.model_dump()
        # Every rank decodes, so every rank reads the teacher; only the first compares it with the cache, which takes long.
        manifest, teacher = self.loader.manifest, config.teacher
        decoder = checked_decoder(teacher, manifest=manifest) if rank == 0 else teacher_decoder(teacher)
        torch.manual_seed(config.seed)
        start = starting_point(config.model, announce=rank == 0)
        self.batchnorm_learns, self.facts = not config.model.freeze_batchnorm and config.trainable.backbone > 0, start.facts
        if not self.batchnorm_learns:
            freeze_batchnorm(start.encoder)  # only a backbone has BatchNorm, whose statistics are part of what is frozen
        self.module = self._prompted_student(start.encoder, *decoder)

    def _prompted_student(
        self, encoder: nn.Module, mask_decoder: Mapping[str, Tensor], prompt_encoder: Mapping[str, Tensor]
    ) -> PromptedStudent:
        config = self.config
        sam = encoders.build_sam(config.model.arch, image_size=config.model.image_size)
        sam.image_encoder = encoder
        teacher = None
        if self.factors["mask_decoder"] or self.factors["prompt_encoder"]:
            teacher = Sam(arch="teacher", image_encoder=nn.Identity(), image_size=config.model.image_size)
        for one in (sam, teacher):
            if one is not None:
                one.mask_decoder.load_state_dict(mask_decoder)
                one.prompt_encoder.load_state_dict(prompt_encoder)
        freeze_parts(sam, factors=self.factors)
        normalized = config.loss is not None and config.loss.normalize == "channel"
        scale = channel_scale(self.loader.manifest) if normalized else None
        return PromptedStudent(
            sam,
            teacher=teacher and teacher.requires_grad_(False),
            prompts=config.prompts,
            embedding_loss=config.loss,
            mask_loss=config.mask_loss,
            scale=scale,
        )

    @property
    def image_encoder(self) -> nn.Module:
        """The student's image encoder."""
        return self.module.sam.image_encoder

    def batches(self, *, start_step: int) -> Generator[PromptedBatch, None, None]:
        """Yield this rank's batches endlessly, starting at a global step."""
        return self.loader.batches(start_step)

    def losses(self, engine: nn.Module, batch: PromptedBatch) -> dict[str, Tensor]:
        """Return the named, weighted loss terms of one batch."""
        return engine(batch)

    def remark(self, measured: Mapping[str, float]) -> str | None:
        """Return a warning if the teacher is too unsure of its masks for most of the boxes that come from them."""
        self._drawn += measured.get(DRAWN, 0.0)
        self._kept += measured.get(KEPT, 0.0)
        if self._drawn < ENOUGH_DRAWN or self._kept >= FEW_KEPT * self._drawn:
            return None
        return (
            f"warning: fewer than {100 * FEW_KEPT:.0f} % of the boxes from the teacher's masks are learnt from; for the others "
            f"it gives no mask, or predicts an IoU below prompts.min_score ({self.config.prompts.min_score:g}). Lower that, or "
            "set prompts.box_share: 0"
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the trainable parameters by part, each with its learning-rate factor."""
        return parameter_groups(self.module.sam, factors=self.factors)

    def sam(self, state_dict: Mapping[str, Tensor]) -> Sam:
        """Return the student of a state dict of `module`."""
        sam = encoders.build_sam(self.config.model.arch, image_size=self.config.model.image_size)
        own = {name.removeprefix("sam."): value for name, value in state_dict.items() if name.startswith("sam.")}
        sam.load_state_dict(own)
        return sam


def prompt_loader(config: PromptRun, *, batch_size: int, rank: int, world_size: int) -> ShardLoader:
    """Open the cache of a run for this rank, with prompts drawn from its annotations; see `cache_loader`."""
    truth = bool(config.mask_loss.truth)
    draw = DrawPrompts(config.prompts, seed=config.seed, image_size=config.model.image_size, truth=truth)
    return cache_loader(config, batch_size=batch_size, rank=rank, world_size=world_size, records=True, transform=draw)
