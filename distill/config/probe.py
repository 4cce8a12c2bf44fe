"""Settings of the probe: the masks of the student and its teacher are compared during training."""

from typing import Annotated

from pydantic import Field

from distill.config.sections import Count, Frozen, Positive, Seed, Share, Weight
from shards.loading.held_out import HeldOutShare


class AlarmConfig(Frozen):
    """When a run is told that its loss falls and its masks do not improve; see `distill.probe.alarm`."""

    probes: Positive = 5  # how many probes back it looks
    fall: Share = 0.2  # of the loss since then
    rise: Weight = 0.02  # of the mean mask IoU since then; less than it is no improvement
    below: Share = 0.5  # no alarm at a mean mask IoU from here on


class ProbeConfig(Frozen):
    """A measurement every few steps on photos that are not trained on.

    The photos are a share of the run's cache, kept out of training with all their views, or those of another cache by the same
    teacher. Prompts come from the photo's annotations, or from a grid of points and the boxes of the teacher's masks there.
    """

    every_steps: Positive = 1000  # and before the first step and after the last
    cache: str | None = None  # another cache, none of whose photos should be in the run's; null: a share of the run's cache
    share: Annotated[float, Field(gt=0, lt=1)] = 0.01  # of the photos, at least one; without `cache`
    seed: Seed = 0  # of the choice of photos
    photos: Positive = 32  # measured at most
    prompts: Positive = 9  # of a photo at most, each as a point and as a box
    pictures: Count = 4  # photos whose masks are drawn
    pictures_every: Positive = 5  # probes
    patience: Positive | None = None  # the run ends after so many probes without a new best; null: never
    alarm: AlarmConfig = AlarmConfig()

    @property
    def held_out(self) -> HeldOutShare | None:
        """Which photos of the run's cache are not trained on; None: all are."""
        return HeldOutShare(self.share, self.seed) if self.cache is None else None
