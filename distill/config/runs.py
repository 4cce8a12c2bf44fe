"""The settings of training runs and precompute passes. Relative data paths are resolved from the working directory."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from distill.config.augment import AugmentConfig
from distill.config.losses import EmbeddingLossConfig
from distill.config.mask import MaskDataConfig, MaskLossConfig, TrainableConfig
from distill.config.probe import ProbeConfig
from distill.config.prompt_stage import PromptLossConfig, PromptsConfig, StudentPartsConfig
from distill.config.sections import Count, Frozen, Positive, Seed, Share, Weight
from distill.config.views import ViewRecipe
from encoders.acceleration import Precision
from encoders.contract import IMAGE_SIZE
from encoders.errors import InputError, InputWarning, did_you_mean
from encoders.local_folder import check_local_folder
from shards.cache.local_cache import DEFAULT_BYTES
from shards.cache.stored_photo import Decode

Beta = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(Frozen):
    """The student (in the mask stage, the whole SAM): its name, input size and initial weights."""

    arch: str
    image_size: Positive = IMAGE_SIZE
    init: str | None = None  # a run, a checkpoint, ImageNet weights, "efficientnet_lite0" (mask stage), or nothing
    freeze_batchnorm: bool = False  # use BatchNorm's statistics of `init` and never update them; the mask stage always does

    @model_validator(mode="after")
    def _has_statistics(self) -> "ModelConfig":
        if self.freeze_batchnorm and self.init is None:
            raise ValueError("freeze_batchnorm keeps the statistics of init, but none is given; give one or leave it out")
        return self


class TeacherConfig(Frozen):
    """The teacher that made the embeddings: a registry name, a run folder, or a checkpoint file with `arch`."""

    model: str
    arch: str | None = None
    decoder: str | None = None  # a file with prompt encoder and mask decoder, for a model that is an image encoder alone
    image_size: Positive | None = None


class PrecomputeTeacherConfig(TeacherConfig):
    """The teacher of a precompute pass. The settings added here are meant for a GPU and have been tested only on a CPU."""

    precision: Precision = "fp32"  # bf16 changes the embeddings, so the cache is another one; see encoders/acceleration.py
    compile: bool = False  # torch.compile: minutes before the first batch; needs a C++ compiler on a CPU


class EmbeddingDataConfig(Frozen):
    """A cache that `precompute` made: its folder, or a URL with a folder on this machine's disk to keep shards in."""

    cache: str  # a folder, or its URL: http, https, or what fsspec opens (s3://, gs://, ...)
    num_workers: Count = 2
    local_cache: str | None = None  # for a URL; runs and processes may share it
    local_cache_gib: Annotated[float, Field(gt=0)] = DEFAULT_BYTES / 2**30
    augment: AugmentConfig = AugmentConfig()


class OptimConfig(Frozen):
    """AdamW; no weight decay on biases and norms."""

    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Weight = 0.01
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    clip_grad_norm: Weight = 1.0  # 0: no clipping


class ScheduleConfig(Frozen):
    """Linear warm-up, then cosine down to `min_lr_ratio`; the length in steps or in epochs."""

    steps: Positive | None = None
    epochs: Positive | None = None
    warmup_steps: Count = 0
    min_lr_ratio: Share = 0.0

    @model_validator(mode="after")
    def _one_length(self) -> "ScheduleConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


class EmaConfig(Frozen):
    """Exponential moving average of the weights; it is what is exported. 0 keeps the raw weights."""

    decay: Share = 0.999


class CheckpointConfig(Frozen):
    """Checkpoint interval, and number of latest checkpoints to keep."""

    every_steps: Positive = 500
    keep: Positive = 2


class LogConfig(Frozen):
    """Interval of logging to metrics.jsonl and TensorBoard, and trackers that get the same; each is an extra of its name."""

    every_steps: Positive = 20
    loggers: tuple[Literal["wandb", "trackio"], ...] = ()


class ComputeConfig(Frozen):
    """How a step is computed; meant for GPUs. All but `sync_batchnorm` change speed, memory and rounding only."""

    compile: bool = False  # torch.compile of the student: minutes before the first step; needs a C++ compiler on a CPU
    activation_checkpointing: bool = False  # recomputes each block in the backward pass: less memory, about a third more work
    sync_batchnorm: bool = True  # statistics of the global batch; False: of each process's photos, without collectives
    tf32: bool = True  # on a GPU, float32 products with 10 bits of mantissa


class RunConfig(Frozen):
    """The settings of a training run that all stages share."""

    name: str
    out: str | None = None  # runs/NAME
    seed: Seed = 0
    model: ModelConfig
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig
    global_batch: Positive = 8
    ema: EmaConfig = EmaConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    probe: ProbeConfig | None = None  # masks are compared with the teacher's during the run
    export: Literal["best", "last"] | None = None  # which averaged weights; null: the best of the probe, if there is one
    compute: ComputeConfig = ComputeConfig()
    deepspeed: str = "zero0"  # a name in configs/deepspeed, or a path
    licences: dict[str, str] = {}  # of the teacher, the data and the initial weights; copied into run.json

    @model_validator(mode="after")
    def _has_a_best(self) -> "RunConfig":
        if self.export == "best" and self.probe is None:
            raise ValueError("export: best needs a probe, which finds the best weights; add the section probe, or export: last")
        return self

    @property
    def exports_best(self) -> bool:
        """Whether the weights of the best probe are exported, and not the last ones."""
        return self.probe is not None and self.export != "last"

    @property
    def folder(self) -> Path:
        """The run folder.

        Raises:
            InputError: `out` is a URL.
        """
        return Path("runs") / self.name if self.out is None else check_local_folder(self.out, name="out")


class EmbeddingRun(RunConfig):
    """A run of the embedding stage: the student regresses its teacher's cached embeddings."""

    stage: Literal["embedding"] = "embedding"
    teacher: TeacherConfig
    data: EmbeddingDataConfig
    loss: EmbeddingLossConfig = EmbeddingLossConfig()


class MaskRun(RunConfig):
    """A run of the mask stage: a whole SAM learns from photos with masks."""

    stage: Literal["mask"]
    mask_data: MaskDataConfig
    mask_loss: MaskLossConfig = MaskLossConfig()
    trainable: TrainableConfig = TrainableConfig()

    @model_validator(mode="after")
    def _learns(self) -> "MaskRun":
        loss = self.mask_loss
        if not (loss.focal or loss.bce or loss.dice or loss.iou):
            raise ValueError("every weight of mask_loss is 0, so there is nothing to learn from")
        if not any(self.trainable.model_dump().values()):
            raise ValueError("every part of trainable is 0, so there is nothing that learns")
        if self.probe is not None:
            raise ValueError("probe compares with a teacher, whose embeddings the mask stage does not have; leave it out")
        return self


class PromptRun(RunConfig):
    """A run of the prompt stage: the student learns its teacher's masks from cached embeddings, prompts in the loop."""

    stage: Literal["prompt"]
    teacher: TeacherConfig
    data: EmbeddingDataConfig
    prompts: PromptsConfig = PromptsConfig()
    mask_loss: PromptLossConfig = PromptLossConfig()
    loss: EmbeddingLossConfig | None = EmbeddingLossConfig()  # on the embedding, beside the masks; null: none
    trainable: StudentPartsConfig = StudentPartsConfig()

    @model_validator(mode="after")
    def _learns(self) -> "PromptRun":
        loss = self.mask_loss
        if not (loss.teacher or loss.truth):
            raise ValueError("mask_loss.teacher and mask_loss.truth are both 0, so no mask is learnt; use stage: embedding")
        if not (loss.focal or loss.bce or loss.dice):
            raise ValueError("mask_loss.focal, bce and dice are all 0, so no mask is learnt")
        if loss.truth and self.prompts.source == "teacher":
            raise ValueError("mask_loss.truth needs annotated masks; use prompts.source: annotations, or mask_loss.truth: 0")
        if not any(self.trainable.model_dump().values()):
            raise ValueError("every part of trainable is 0, so there is nothing that learns")
        return self


Run = EmbeddingRun | MaskRun | PromptRun
RunModel = type[EmbeddingRun] | type[MaskRun] | type[PromptRun]
STAGES: dict[str, RunModel] = {"embedding": EmbeddingRun, "mask": MaskRun, "prompt": PromptRun}


def run_model(content: Mapping[str, Any]) -> RunModel:
    """Return the model that checks the settings of a run, by their `stage`; the default is "embedding".

    Raises:
        InputError: there is no such stage.
    """
    stage = str(content.get("stage", "embedding"))
    if stage not in STAGES:
        raise InputError(f"stage: expected {' or '.join(STAGES)} (given: {stage!r}){did_you_mean(stage, STAGES)}")
    return STAGES[stage]


def stage_of(model: type[RunConfig]) -> str:
    """Return the stage whose settings `model` checks."""
    return next(stage for stage, other in STAGES.items() if other is model)


def other_stage(key: str, *, model: type[RunConfig]) -> str | None:
    """Return the stage that this top-level key belongs to if that is not the stage of `model`, else None."""
    return None if key in model.model_fields else next((s for s, other in STAGES.items() if key in other.model_fields), None)


class SourceConfig(Frozen):
    """Photos: a folder, SA-1B tars (file, folder, glob, or a .txt that lists them), or a COCO json with its images.

    A folder, a tar and a glob of tars may be URLs of an object store.
    """

    path: str
    images: str | None = None
    subset: str | None = None  # "1%@seed=0": a share of the photos, decided by their keys and the seed alone
    names: str | None = None  # a text file of keys or file names, one a line: only these photos
    masks: bool = True  # False: annotations are neither needed nor read
    decode: Decode = "exact"  # near, fast: large photos in less time, with other pixels; see shards/cache/stored_photo.py
    views: Positive = 1  # more than 1 adds random crops of each photo
    view_recipe: ViewRecipe = ViewRecipe()


class PrecomputeConfig(Frozen):
    """One pass of a teacher over photos."""

    source: SourceConfig
    teacher: PrecomputeTeacherConfig
    out: str  # a folder, or the URL of an object store
    scratch: str | None = None  # a folder on this machine for shards on their way to a URL; null: the user's for caches
    codec: str = "int8"
    codec_gate: bool = True  # refuse a codec that loses too much of the first photos' masks
    samples_per_shard: Positive = 1000
    batch_size: Positive = 4
    decode_workers: Positive | None = None  # threads a process that read and resize photos; null: its cores
    max_bad_fraction: Share = 0.01
    seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def _without_leases(cls, content: Any) -> Any:
        """Ignore `lease_seconds`, which earlier releases wrote into the config of each cache."""
        if not isinstance(content, dict) or "lease_seconds" not in content:
            return content
        text = "lease_seconds is not used any more, as engines hand out the shards (--engine); it is ignored, remove it"
        warnings.warn(text, InputWarning, stacklevel=2)
        return {key: value for key, value in content.items() if key != "lease_seconds"}
