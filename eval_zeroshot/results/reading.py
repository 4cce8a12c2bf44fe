"""How the numbers of a result are to be read, as its suite says."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ErrorKind = Literal["mean", "jackknife"]
PromptKind = Literal["box", "point"]


class Reading(BaseModel):
    """What a suite says of its numbers, so that a report need not guess.

    Attributes:
        unit: what n counts, in the plural, as "objects".
        error: what ± is: the standard error of a mean over the units, or a jackknife that leaves out each unit in turn; None
            where there is none.
        primary: which values of an observation have the result's value as their mean; None where it is no mean of them.
        drawn: what the bootstrap draws with replacement, in the plural.
        made_of_logits: whether the numbers are made of mask probabilities, which baselines lack.
        prompt: what of an object's truth is its prompt: its box, or the point farthest from its boundary; None where prompts
            come from elsewhere.
        title: of the column of values; the suite's name where it is None.
        further_titles: name of a further number -> title of its column, where it is not the name itself.
        family: name under which published numbers stand that are the nearest to these; None where there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str = Field(default="objects", min_length=1)
    error: ErrorKind | None = "mean"
    primary: str | None = None
    drawn: str = Field(default="photos", min_length=1)
    made_of_logits: bool = False
    prompt: PromptKind | None = None
    title: str | None = None
    further_titles: dict[str, str] = Field(default_factory=dict)
    family: str | None = None
