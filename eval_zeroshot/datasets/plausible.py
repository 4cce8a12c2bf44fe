"""What makes annotations implausible: boxes that do not belong to their masks."""

import warnings

from encoders.errors import InputWarning
from encoders.geometry import mask_box
from encoders.samples.overlap import box_iou
from encoders.samples.sample import Sample

LEAST_BOX_IOU = 0.5
MOST_STRANGE = 0.02  # of all objects; of COCO val2017 it is 0.0006
FEWEST = 3  # strange objects that are worth a note


class BoxCheck:
    """Counts objects whose box overlaps their mask's own by less than half; crowds and empty masks apart."""

    def __init__(self) -> None:
        self.objects, self.strange = 0, 0
        self.first = ""

    def look_at(self, sample: Sample) -> None:
        """Take one photo's objects into account."""
        for mask, box, crowd, number in zip(sample.masks, sample.boxes, sample.crowd, sample.annotation_ids, strict=True):
            if crowd or not mask.any():
                continue
            self.objects += 1
            if box_iou(box, mask_box(mask)).item() < LEAST_BOX_IOU:
                self.strange += 1
                self.first = self.first or f"annotation {number} of {sample.key}"

    def warn(self, dataset: str) -> None:
        """Say so if it is more than a few.

        Warns:
            InputWarning: boxes are probably stored as corners or with swapped axes, or belong to another photo size.
        """
        if self.strange >= FEWEST and self.strange > MOST_STRANGE * self.objects:
            warnings.warn(
                f"{dataset}: the boxes of {self.strange} of {self.objects} objects overlap their masks' own by less than half, "
                f"{self.first} first; expected x, y, width, height in pixels of the photo. Suites that prompt by annotated "
                "boxes take these",
                InputWarning,
                stacklevel=3,
            )
