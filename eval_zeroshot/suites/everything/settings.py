"""What decides which masks of a grid of points are kept, under segment-anything's names."""

from dataclasses import asdict, dataclass
from typing import Any

from encoders.errors import InputError


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """Settings of SAM's automatic mask generation on the whole photo, without crops; its defaults are the defaults.

    Source: segment-anything, `SamAutomaticMaskGenerator`.

    Attributes:
        points_per_side: the grid has the square of it.
        pred_iou_thresh: a mask whose predicted IoU is not above it is dropped; 0 drops none.
        stability_score_thresh: a mask whose stability is below it is dropped; 0 drops none.
        stability_score_offset: of the logits, up and down, between which stability is measured.
        box_nms_thresh: of two masks whose boxes overlap by more, the one of lower predicted IoU is dropped.
        min_mask_region_area: holes and loose pieces of fewer pixels are filled and removed; 0 leaves them.

    Raises:
        InputError: a grid without a point, or a threshold that cannot be meant.
    """

    points_per_side: int = 32
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        if self.points_per_side < 1:
            raise InputError(f"{self.points_per_side} points a side leave no point to ask; give 1 or more")
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 to 1")
        for name in ("stability_score_offset", "min_mask_region_area"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more")

    @property
    def points(self) -> int:
        """Points of the whole grid."""
        return self.points_per_side**2

    def json(self) -> dict[str, Any]:
        """All of them, fit for json."""
        return asdict(self)


# SAM's object proposals, arXiv:2304.02643, D.3: "remove filtering", 64 x 64 points, "an NMS threshold of 0.9", no crops
SAM_PROPOSALS = MaskSettings(
    points_per_side=64, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=0.9
)
