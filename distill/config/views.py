"""Settings of how the views of a photo are made; see `shards.sources.views`."""

from typing import Annotated, Literal

from pydantic import Field

from distill.config.sections import Frozen

Scale = Annotated[float, Field(ge=1, le=10)]


class ViewRecipe(Frozen):
    """How views but the first, which is the whole photo, are made. Another recipe gives another cache."""

    kind: Literal["crops", "jitter"] = "crops"  # crops: 40 to 100 % of each side, no annotations; jitter: keeps annotations
    scale: tuple[Scale, Scale] = (1.0, 2.5)  # of jitter: size of what the view shows, relative to the whole photo
