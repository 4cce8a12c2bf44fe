"""Numbers from papers, each with its citation and protocol. They are for orientation, never for a shared column."""

from collections.abc import Iterable
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from eval_zeroshot.results.shipped import shipped_yaml


class PublishedGroup(BaseModel):
    """Numbers of one paper under one protocol on one data set.

    Attributes:
        source: short name of the paper.
        unit: how the values are printed there.
        metrics: names of M numbers.
        numbers: model -> M values, None where the paper has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    citation: str
    suite: str
    dataset: str
    unit: Literal["percent", "fraction"]
    protocol: str
    metrics: tuple[str, ...]
    numbers: dict[str, tuple[float | None, ...]]

    @model_validator(mode="after")
    def _complete(self) -> "PublishedGroup":
        for model, values in self.numbers.items():
            if len(values) != len(self.metrics):
                raise ValueError(f"{self.source}, {model}: {len(values)} values for {len(self.metrics)} metrics")
        return self

    @property
    def digits(self) -> int:
        """Digits behind the point that the source prints: of its most precise number, as YAML drops final zeros."""
        values = [value for row in self.numbers.values() for value in row if value is not None]
        return max(1, *(len(str(value).partition(".")[2]) for value in values))

    def rows(self) -> list["PublishedRow"]:
        """One row for each number that there is."""
        shared = {name: getattr(self, name) for name in ("source", "citation", "suite", "dataset", "unit", "protocol")}
        return [
            PublishedRow(model=model, metric=metric, value=value, **shared)
            for model, values in self.numbers.items()
            for metric, value in zip(self.metrics, values, strict=True)
            if value is not None
        ]


class PublishedRow(BaseModel):
    """One published number, in the unit it was printed in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    suite: str
    metric: str
    dataset: str
    value: float
    unit: Literal["percent", "fraction"]
    protocol: str
    source: str
    citation: str


@cache
def published_groups() -> tuple[PublishedGroup, ...]:
    """All groups of the shipped table, in its order."""
    return tuple(TypeAdapter(list[PublishedGroup]).validate_python(shipped_yaml("published.yaml")))


def published_rows(suites: Iterable[str] | None = None) -> list[PublishedRow]:
    """Every published number, of the named suites or of all."""
    wanted = None if suites is None else set(suites)
    return [row for group in published_groups() if wanted is None or group.suite in wanted for row in group.rows()]
