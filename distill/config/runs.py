"""Run configuration: one validated YAML file per run. Relative data paths are resolved from the working directory."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from distill.config.folder import CONFIGS
from distill.config.mask import MaskDataConfig, MaskLossConfig, TrainableConfig
from distill.config.overrides import MAX_SHOWN, apply_override, numbers_not_finite, sets_key
from distill.config.sections import Count, Frozen, Positive, Seed, Share, Weight
from encoders.acceleration import Precision
from encoders.contract import IMAGE_SIZE
from encoders.errors import InputError, did_you_mean
from encoders.local_folder import check_local_folder
from encoders.untrusted import read_yaml
from shards.cache.local_cache import DEFAULT_BYTES

MAX_ERRORS = 5  # most errors listed in one message
Beta = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(Frozen):
    """The student (or, in the mask stage, the whole SAM): registry name, S, where its weights start."""

    arch: str
    image_size: Positive = IMAGE_SIZE
    init: str | None = None  # a checkpoint, RepViT ImageNet weights, "efficientnet_lite0" (mask stage), or nothing


class TeacherConfig(Frozen):
    """The teacher that made the embeddings: a registry name, a run folder, or a checkpoint file with `arch`."""

    model: str
    arch: str | None = None
    image_size: Positive | None = None


class PrecomputeTeacherConfig(TeacherConfig):
    """The teacher of a pass, and how it computes; both settings are meant for a GPU and were only ever run on a CPU."""

    precision: Precision = "fp32"  # bf16 changes the embeddings, so the cache is another one; see encoders/acceleration.py
    compile: bool = False  # torch.compile: minutes before the first batch; needs a C++ compiler on a CPU


class EmbeddingDataConfig(Frozen):
    """A cache that `precompute` made: its folder, or a URL with a folder on this machine's disk to keep shards in."""

    cache: str  # a folder, or its URL: http, https, or what fsspec opens (s3://, gs://, ...)
    num_workers: Count = 2
    local_cache: str | None = None  # for a URL; runs and processes may share it
    local_cache_gib: Annotated[float, Field(gt=0)] = DEFAULT_BYTES / 2**30


class EmbeddingLossConfig(Frozen):
    """Weights of the embedding loss terms; a term of weight 0 is not computed."""

    mse: Weight = 1.0
    cosine: Weight = 0.0


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
    """Interval of logging to metrics.jsonl and TensorBoard."""

    every_steps: Positive = 20


class DistillConfig(Frozen):
    """One training run. Stage "embedding" needs `teacher` and `data`; stage "mask" needs `mask_data`."""

    name: str
    out: str | None = None  # runs/NAME
    seed: Seed = 0
    stage: Literal["embedding", "mask"] = "embedding"
    model: ModelConfig
    teacher: TeacherConfig | None = None
    data: EmbeddingDataConfig | None = None
    loss: EmbeddingLossConfig = EmbeddingLossConfig()
    mask_data: MaskDataConfig | None = None
    mask_loss: MaskLossConfig = MaskLossConfig()
    trainable: TrainableConfig = TrainableConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig
    global_batch: Positive = 8
    ema: EmaConfig = EmaConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    deepspeed: str = "zero0"  # a name in configs/deepspeed, or a path
    licences: dict[str, str] = {}  # of teacher, data, init: copied into run.json

    @property
    def folder(self) -> Path:
        """The run folder.

        Raises:
            InputError: `out` is a URL.
        """
        return Path("runs") / self.name if self.out is None else check_local_folder(self.out, name="out")

    @model_validator(mode="after")
    def _stage_has_its_sections(self) -> "DistillConfig":
        needed = {"embedding": ("teacher", "data"), "mask": ("mask_data",)}[self.stage]
        missing = [section for section in needed if getattr(self, section) is None]
        if missing:
            raise ValueError(f"stage {self.stage} needs the section {' and '.join(missing)}")
        section = {"embedding": "loss", "mask": "mask_loss"}[self.stage]
        terms = ("mse", "cosine") if self.stage == "embedding" else ("focal", "bce", "dice", "iou")
        if not any(getattr(getattr(self, section), term) for term in terms):
            raise ValueError(f"every weight of {section} is 0, so there is nothing to learn from")
        if self.stage == "mask" and not any(self.trainable.model_dump().values()):
            raise ValueError("every part of trainable is 0, so there is nothing that learns")
        return self


class SourceConfig(Frozen):
    """Photos: a folder, SA-1B tars (file, folder, glob, or a .txt that lists them), or a COCO json with its images."""

    path: str
    images: str | None = None
    subset: str | None = None  # "1%@seed=0": a share of the photos, decided by their keys and the seed alone
    names: str | None = None  # a text file of keys or file names, one a line: only these photos
    masks: bool = True  # False: annotations are neither needed nor read
    views: Positive = 1  # more than 1 adds random crops of each photo


class PrecomputeConfig(Frozen):
    """One pass of a teacher over photos."""

    source: SourceConfig
    teacher: PrecomputeTeacherConfig
    out: str
    codec: str = "int8"
    codec_gate: bool = True  # refuse a codec that loses too much of the first photos' masks
    samples_per_shard: Positive = 1000
    batch_size: Positive = 4
    max_bad_fraction: Share = 0.01
    lease_seconds: Positive = 600  # a process without a sign of life for so long is taken for dead; more than a batch takes
    seed: Seed = 0


Config = TypeVar("Config", DistillConfig, PrecomputeConfig)


def read_config(path: str | Path, kind: type[Config], *, overrides: Sequence[str] = ()) -> Config:
    """Read a config file, apply `key.sub=value` overrides (values in YAML), and check it.

    An override of `name` moves the output folder of a run with it: to the folder of that name beside the one in the file,
    unless `out` is overridden too.

    Raises:
        InputError: no such file, no mapping, an unknown key (near misses are named), a value of the wrong type, or a number
            that is not finite.
    """
    file = find_config(path)
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise InputError(f"{file} holds {type(content).__name__}; expected a mapping of settings")
    for override in overrides:
        apply_override(content, override)
    if kind is DistillConfig and sets_key(overrides, "name") and not sets_key(overrides, "out") and content.get("out"):
        content["out"] = str(Path(str(content["out"])).parent / str(content["name"]))
    for key in numbers_not_finite(content):
        raise InputError(f"{file}: {key}: expected a finite number, neither .nan nor .inf")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        listed = [_explain(dict(e), kind) for e in error.errors()]
        more = f"; and {len(listed) - MAX_ERRORS} more" if len(listed) > MAX_ERRORS else ""
        raise InputError(f"{file}: {'; '.join(listed[:MAX_ERRORS])}{more}") from error


def write_config(config: BaseModel, path: Path) -> None:
    """Write the resolved config as YAML."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def find_config(path: str | Path) -> Path:
    """Resolve an existing path or the name of a shipped config, with or without .yaml."""
    shipped = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.glob("**/*.yaml"))
    for candidate in (Path(path), CONFIGS / path, CONFIGS / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    hint = did_you_mean(str(path), shipped)
    raise InputError(f"config {path} does not exist{hint} (shipped: {', '.join(shipped)})")


def _explain(error: Mapping[str, Any], kind: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        given = "" if isinstance(error["input"], dict) else f" (given: {_shown(error['input'])})"
        return f"{path or 'config'}: {error['msg']}{given}"
    *parents, name = error["loc"]
    allowed = _fields(kind, parents)
    near = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"did you mean {'.'.join([*map(str, parents), near[0]])}?" if near else f"allowed: {', '.join(allowed)}"
    return f"unknown key {path}; {hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _fields(kind: type[BaseModel], parents: Sequence[Any]) -> list[str]:
    """Return the keys of the section at `parents`; empty if it is inside a union type."""
    section: Any = kind
    for name in parents:
        field = section.model_fields.get(name) if hasattr(section, "model_fields") else None
        if field is None:
            return []
        options = [field.annotation, *get_args(field.annotation)]
        section = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    return list(section.model_fields) if section is not None else []
