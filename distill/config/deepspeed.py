"""Validation of DeepSpeed's settings against what a run's config describes."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.config.folder import CONFIGS
from distill.config.overrides import MAX_SHOWN
from encoders.errors import InputError
from encoders.untrusted import read_json

MAX_BYTES = 2**20
WHY_NO_ZERO = (
    "ZeRO stages above 0 scatter the optimizer over the processes, so that a run could not go on on another number of them, "
    "and a student of this size gains nothing by it; use zero0, bf16 or bf16_accumulate8"
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class Cast(_Part):
    """`fp16`, `bf16` or `torch_autocast`."""

    enabled: bool = False
    dtype: str | None = None


class Zero(_Part):
    """`zero_optimization`."""

    stage: int = Field(default=0, ge=0)


class DeepSpeedSettings(_Part):
    """A DeepSpeed json: the settings that matter here, validated; all others are passed to DeepSpeed unchecked.

    Attributes:
        gradient_accumulation_steps: micro-batches per update.
    """

    fp16: Cast = Cast()
    bf16: Cast = Cast()
    torch_autocast: Cast = Cast()
    zero_optimization: Zero = Zero()
    gradient_accumulation_steps: int = Field(default=1, ge=1)

    @property
    def content(self) -> dict[str, Any]:
        """The settings of the file, without defaults."""
        return self.model_dump(exclude_unset=True)


def read_deepspeed_config(name: str) -> DeepSpeedSettings:
    """Read a DeepSpeed json: a path, or a name in configs/deepspeed.

    Raises:
        InputError: there is none, it is damaged, or it would train something else than the config describes.
    """
    shipped = CONFIGS / "deepspeed" / f"{name}.json"
    path = Path(name) if Path(name).is_file() else shipped
    if not path.is_file():
        if name in ("zero1", "zero2", "zero3"):
            raise InputError(f"deepspeed config {name!r}: {WHY_NO_ZERO}")
        names = ", ".join(sorted(p.stem for p in shipped.parent.glob("*.json")))
        raise InputError(f"deepspeed config {name!r} is neither a file nor one of {names}")
    try:
        settings = DeepSpeedSettings.model_validate(read_json(path, max_bytes=MAX_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        said = f"{place}: {first['msg']} (given: {repr(first['input'])[:MAX_SHOWN]})"
        raise InputError(f"{path} is not a DeepSpeed config: {said}") from error
    for cast in ("fp16", "bf16"):
        if getattr(settings, cast).enabled:
            raise InputError(
                f"deepspeed config {name!r} enables {cast}, which would cast BatchNorm statistics too; "
                "use torch_autocast with bfloat16, as deepspeed: bf16 does"
            )
    autocast = settings.torch_autocast
    if autocast.enabled and autocast.dtype != "bfloat16":
        raise InputError(
            f"deepspeed config {name!r} casts to {autocast.dtype}; expected bfloat16: float16 needs its loss scaled, and its "
            "gradients may overflow by design"
        )
    if settings.zero_optimization.stage > 0:
        raise InputError(f"deepspeed config {name!r} asks for ZeRO stage {settings.zero_optimization.stage}: {WHY_NO_ZERO}")
    return settings
