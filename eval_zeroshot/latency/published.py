"""Latencies that their authors printed, each with its citation: for orientation, never for a ratio with measured ones."""

from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from eval_zeroshot.latency.rows import Part


class PublishedLatencies(BaseModel):
    """Numbers of one source on one device.

    Attributes:
        part: what is timed, "whole" being encoder and decoder together; None where the source does not say.
        unit: how the numbers are printed there: milliseconds, or images a second.
        device, runtime, precision, image_size: as far as the source says.
        numbers: model -> number, or "OOM", as the authors print it where memory ran out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    citation: str
    part: Part | Literal["whole"] | None = None
    unit: Literal["ms", "images/s"]
    device: str
    runtime: str | None = None
    precision: str | None = None
    image_size: int | None = None
    numbers: dict[str, Annotated[float, Field(gt=0)] | Literal["OOM"]]

    def shown(self, model: str) -> str:
        """A number as it is printed, with its unit."""
        value = self.numbers[model]
        return value if isinstance(value, str) else f"{value:g} {self.unit}"


@cache
def published_latencies() -> tuple[PublishedLatencies, ...]:
    """All sources of the shipped table, in its order."""
    text = files("eval_zeroshot").joinpath("data/published_latency.yaml").read_text(encoding="utf-8")
    return tuple(TypeAdapter(list[PublishedLatencies]).validate_python(yaml.safe_load(text)))
