"""Latencies as their authors printed them, with citations: for orientation, never divided by measured ones."""

from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from eval_zeroshot.latency.rows.row import Part
from eval_zeroshot.results.shipped import shipped_yaml


class PublishedLatencies(BaseModel):
    """Numbers of one source on one device.

    Attributes:
        part: what is timed: "whole" is encoder and decoder together, "classifier" an ImageNet classifier; None if the source
            does not say.
        unit: of the printed numbers: milliseconds, or images per second.
        device, runtime, precision, image_size: None if the source does not say.
        numbers: model -> number, or "OOM", which the authors print where memory ran out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    citation: str
    part: Part | Literal["whole", "classifier"] | None = None
    unit: Literal["ms", "images/s"]
    device: str
    runtime: str | None = None
    precision: str | None = None
    image_size: int | None = None
    numbers: dict[str, Annotated[float, Field(gt=0)] | Literal["OOM"]]

    def shown(self, model: str) -> str:
        """A number as printed, with its unit."""
        value = self.numbers[model]
        return value if isinstance(value, str) else f"{value:g} {self.unit}"


@cache
def published_latencies() -> tuple[PublishedLatencies, ...]:
    """All entries of the shipped file, in its order."""
    return tuple(TypeAdapter(list[PublishedLatencies]).validate_python(shipped_yaml("published_latency.yaml")))
