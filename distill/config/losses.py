"""Settings of the embedding stage's loss."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.config.sections import Frozen, Weight


class EmbeddingLossConfig(Frozen):
    """Weights of the terms, see `distill.losses`; a term of weight 0 is not computed."""

    mse: Weight = 1.0  # over the photo's positions, not over padding
    plain_mse: Weight = 0.0  # over all positions, as MobileSAM's; the cache keeps no padding, so its target there is 0
    l1: Weight = 0.0
    huber: Weight = 0.0
    cosine: Weight = 0.0
    huber_delta: Annotated[float, Field(gt=0)] = 1.0  # differences below it count by their square, larger ones by their size
    normalize: Literal["none", "channel"] = "none"  # channel: by the mean and deviation of each of the teacher's channels

    @property
    def weights(self) -> dict[str, float]:
        """Name -> weight of each term."""
        return {name: getattr(self, name) for name in ("mse", "plain_mse", "l1", "huber", "cosine")}

    @model_validator(mode="after")
    def _learns(self) -> "EmbeddingLossConfig":
        if not any(self.weights.values()):
            raise ValueError("every weight of loss is 0, so there is nothing to learn from")
        return self
