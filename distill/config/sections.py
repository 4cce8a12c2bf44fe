"""The base class of config sections."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 2**53  # that a float holds exactly, as other programs read numbers

Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class Frozen(BaseModel):
    """A section: immutable; unknown keys, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)
