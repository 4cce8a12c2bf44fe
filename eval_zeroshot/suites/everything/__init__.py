"""Everything: all masks of a photo by a grid of points, and how many of its objects are among them."""

from eval_zeroshot.suites.everything.generator import MaskGenerator
from eval_zeroshot.suites.everything.settings import SAM_PROPOSALS, MaskSettings

__all__ = ["SAM_PROPOSALS", "MaskGenerator", "MaskSettings"]
