"""The embedding stage: a student regresses the cached embeddings of its teacher."""

from collections.abc import Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import encoders
from distill.config.models import load_teacher
from distill.config.runs import EmbeddingRun, PromptRun, TeacherConfig
from distill.losses import ChannelScale, embedding_losses, loss_names
from distill.starting_point import starting_point
from shards import Batch, Manifest, ShardLoader
from shards.cache.channels import read_channels
from shards.loading.augmentation import Augmentation, Chain
from shards.loading.loader import Transform

LAYOUT = torch.channels_last  # of the images, which every layer follows: a step takes a sixth less time on a CPU


class EmbeddingTask:
    """Distil an image encoder.

    The teacher's checkpoint may have gigabytes, so only the first rank reads it and compares it with the cache. Tasks are
    built by `on_every_rank`, so that all ranks exit if the teacher is the wrong one.

    Args:
        batch_size: photos per step on this rank.

    Raises:
        InputError: the cache is missing or was made by another teacher or at another image size, or the teacher cannot
            be loaded.
    """

    measured_names: tuple[str, ...] = ()

    def __init__(self, config: EmbeddingRun, *, batch_size: int, rank: int, world_size: int) -> None:
        self.config = config
        self.loader = cache_loader(config, batch_size=batch_size, rank=rank, world_size=world_size)
        self.manifest: Manifest | None = self.loader.manifest
        # Only export needs it, but a teacher that cannot be loaded must not be noticed after days of training.
        self._decoder = checked_decoder(config.teacher, manifest=self.manifest) if rank == 0 else None
        self.steps_per_epoch = self.loader.steps_per_epoch
        self.loss_names = loss_names(config.loss)
        self._scale = channel_scale(self.manifest) if config.loss.normalize == "channel" else None
        torch.manual_seed(config.seed)
        start = starting_point(config.model, announce=rank == 0)
        self.module, self.facts = start.encoder, start.facts
        self.batchnorm_learns = not config.model.freeze_batchnorm

    @property
    def image_encoder(self) -> nn.Module:
        """The student itself."""
        return self.module

    def batches(self, *, start_step: int) -> Generator[Batch, None, None]:
        """Yield this rank's batches endlessly, starting at a global step."""
        return self.loader.batches(start_step)

    def losses(self, engine: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted loss terms of one batch."""
        device = next(engine.parameters()).device
        if self._scale is not None:
            self._scale = self._scale.to(device)  # copied at the first step only
        on_device = batch.to_device(device)
        student = engine(on_device.image.contiguous(memory_format=LAYOUT))
        weights, scale = self.config.loss, self._scale
        return embedding_losses(student, on_device.teacher, on_device.valid, weights=weights, scale=scale)

    def remark(self, measured: Mapping[str, float]) -> str | None:
        """Return None: nothing is counted."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one group of all parameters, at the base learning rate."""
        return [{"params": list(self.module.parameters()), "lr_factor": 1.0}]

    def sam(self, state_dict: Mapping[str, Tensor]) -> encoders.Sam:
        """Return the student's encoder with its teacher's prompt encoder and mask decoder."""
        assert self._decoder is not None  # on the first rank
        mask_decoder, prompt_encoder = self._decoder
        sam = encoders.build_sam(self.config.model.arch, image_size=self.config.model.image_size)
        sam.image_encoder.load_state_dict(dict(state_dict), assign=True)
        sam.mask_decoder.load_state_dict(mask_decoder)
        sam.prompt_encoder.load_state_dict(prompt_encoder)
        return sam


def cache_loader(
    config: EmbeddingRun | PromptRun,
    *,
    batch_size: int,
    rank: int,
    world_size: int,
    records: bool = False,
    transform: Transform | None = None,
) -> ShardLoader:
    """Open the cache of a run for this rank, with the augmentation of its photos.

    Args:
        transform: applied after the augmentation.

    Raises:
        InputError: the cache is missing or was made at another image size.
    """
    data = config.data
    strengths = data.augment.model_dump()
    augmentation = Augmentation(seed=config.seed, **strengths) if any(strengths.values()) else None
    transforms = tuple(one for one in (augmentation, transform) if one is not None)
    loader = ShardLoader(
        data.cache,
        batch_size=batch_size,
        rank=rank,
        world_size=world_size,
        seed=config.seed,
        num_workers=data.num_workers,
        records=records,
        transform=Chain(transforms) if transforms else None,
        held_out=None if config.probe is None else config.probe.held_out,
        local_cache=data.local_cache,
        local_cache_bytes=int(data.local_cache_gib * 2**30),
    )
    loader.manifest.require(image_size=config.model.image_size)
    return loader


def channel_scale(manifest: Manifest) -> ChannelScale:
    """Return the normalisation by the statistics of a cache's channels, on the CPU.

    Raises:
        InputError: see `shards.cache.channels.read_channels`.
    """
    found = read_channels(manifest)
    mean, std = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in (found.mean, found.usable_std))
    return ChannelScale(mean, std)


def checked_decoder(teacher: TeacherConfig, *, manifest: Manifest) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return `teacher_decoder` after checking that this teacher made the cache.

    Raises:
        InputError: the teacher cannot be loaded, or another teacher made the cache.
    """
    decoder = teacher_decoder(teacher)
    sha256 = encoders.tensors_sha256(teacher.model, arch=teacher.arch, recorded=manifest.identity.teacher_sha256)
    manifest.require(teacher_sha256=sha256)
    return decoder


def teacher_decoder(teacher: TeacherConfig) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state of a teacher's mask decoder and prompt encoder, discarding its image encoder."""
    sam = load_teacher(teacher)
    return sam.mask_decoder.state_dict(), sam.prompt_encoder.state_dict()
