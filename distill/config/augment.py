"""Settings of the augmentation on the student's side; see `shards.loading.augmentation`."""

from distill.config.sections import Frozen, Share


class AugmentConfig(Frozen):
    """What the student's photos are changed by in training, while the teacher's embedding stays that of the photo itself."""

    colour: Share = 0.0  # strength: brightness, contrast and saturation change by a factor within 1 +- colour
    blur: Share = 0.0  # share of the photos that are blurred, by a Gaussian of 0.3 to 2 px at 1024 px
    noise: Share = 0.0  # share that gets Gaussian noise, of 1 to 12 grey levels
    jpeg: Share = 0.0  # share that is compressed again, at quality 30 to 90
