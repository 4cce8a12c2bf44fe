"""The everything suite: how many of a photo's objects are among the masks of a grid of points."""

from collections.abc import Sequence

import numpy as np

from encoders.samples.rle import Rle, encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.suites.everything.candidates import Candidate
from eval_zeroshot.suites.everything.generator import explore, select
from eval_zeroshot.suites.everything.order import ORDER_IN_WORDS
from eval_zeroshot.suites.everything.recall import ALL, frequency_groups, matched_shares, overlaps, size_groups
from eval_zeroshot.suites.everything.settings import SAM_PROPOSALS, MaskSettings
from eval_zeroshot.suites.photo_suite import MeanSuite

MOST = 1000  # proposals of one photo
FEW = 100
BUDGET_SHARES = (2, 4, 8)  # a half, a quarter and an eighth of the points
# Stated in the paper: LVIS v1, AR at 1000, grid, NMS threshold and that it ranks by predicted IoU, no filters, no crops, the
# cut at 1000, truth of the frequencies. Stated by an author (segment-anything, issue 205): IoU .5 to .95, class-agnostic.
SAM_SOURCE = (
    "SAM's object proposals (arXiv:2304.02643, D.3; there on LVIS v1 val; inferred, since it is not stated: NMS is of boxes, "
    "as in segment-anything, and matching is pycocotools')"
)


class Everything(MeanSuite):
    """Average recall of at most 1000 proposals a photo, class-agnostic; see `protocol`.

    Args:
        name: of this instance; it belongs to the settings.
        settings: how proposals are made.
        source: where the settings come from, in words.
    """

    version = "1"
    primary = "recall"

    def __init__(
        self,
        *,
        name: str = "everything",
        settings: MaskSettings = SAM_PROPOSALS,
        source: str = SAM_SOURCE,
    ) -> None:
        self.name = name
        self.settings = settings
        self.budgets = tuple(dict.fromkeys(max(1, settings.points // share) for share in BUDGET_SHARES))
        self.protocol = (
            f"{source}: {_in_words(settings)}; at most {MOST} masks a photo by the mean of predicted IoU and stability. AR: "
            "one to one by pycocotools' greedy rule, all objects one category, mean over objects of the share of the "
            "thresholds 0.5, 0.55, ... 0.95; crowds ignored, objects without a pixel skipped. small, medium, large (COCO's "
            "areas) and rare, common, frequent (LVIS) each with these objects alone as truth. extra: AR100; AR_N_points, of "
            f"a budget of N points, {ORDER_IN_WORDS}; best_iou, of each object with any proposal; proposals and points, means "
            "over photos with an object"
        )

    def counted_ids(self, sample: Sample) -> list[int]:
        return [int(sample.annotation_ids[index]) for index in np.flatnonzero(_counts(sample))]

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        """Ask the whole grid once; budgets are its beginnings."""
        counts = _counts(sample)
        crowds = int(np.sum(sample.crowd))
        seen = Observation(
            key=sample.key,
            ids=self.counted_ids(sample),
            areas=[float(area) for area in sample.areas[counts]],
            skipped={"crowd": crowds, "empty": len(sample.masks) - crowds - int(counts.sum())},
        )
        if not counts.any():
            return seen
        found = explore(predictor, shape=sample.shape, settings=self.settings)
        truth = _Truth(sample)
        proposals = best(select(found.candidates, settings=self.settings))
        values = truth.values(proposals) | {"proposals": [float(len(proposals))], "points": [float(len(found.asked))]}
        for budget in self.budgets:
            fewer = best(select(found.first(budget).candidates, settings=self.settings))
            values[f"AR_{budget}_points"] = truth.recall(fewer)
        return seen.model_copy(update={"values": values, "masks": truth.nearest(proposals)})


def best(candidates: Sequence[Candidate], *, most: int = MOST) -> list[Rle]:
    """Masks by the mean of predicted IoU and stability, highest first, of equals in the order given."""
    return [one.rle for one in sorted(candidates, key=lambda one: -(one.score + one.stability))[:most]]


class _Truth:
    """A photo's objects, those that count first of all; G with crowds, P that count."""

    def __init__(self, sample: Sample) -> None:
        there = [index for index, mask in enumerate(sample.masks) if mask.any()]
        self.masks = [encode_mask(sample.masks[index]) for index in there]
        self.crowd = sample.crowd[there]
        self.groups: dict[str, np.ndarray] = dict(size_groups(sample.areas[there]))
        if frequencies := sample.meta.get("frequencies"):
            self.groups |= frequency_groups([frequencies[index] for index in there])

    def recall(self, proposals: Sequence[Rle]) -> list[float]:
        """(P,) the matched share of each object that counts."""
        shares = matched_shares(self._ious(proposals), groups=self.groups[ALL][None], crowd=self.crowd)
        return [float(share) for share in shares[0, ~self.crowd]]

    def values(self, proposals: Sequence[Rle]) -> dict[str, list[float]]:
        """Recall by name of the group, each of its own objects; with fewer proposals; and the best IoU."""
        ious = self._ious(proposals)
        shares = matched_shares(ious, groups=np.stack(list(self.groups.values())), crowd=self.crowd)
        found = {
            name: [float(share) for share in mine[group & ~self.crowd]]
            for (name, group), mine in zip(self.groups.items(), shares, strict=True)
        }
        nearest = ious[:, ~self.crowd].max(axis=0, initial=0.0)
        return {
            "recall": found.pop(ALL),
            **found,
            "AR100": self.recall(proposals[:FEW]),
            "best_iou": [float(iou) for iou in nearest],
        }

    def nearest(self, proposals: Sequence[Rle]) -> list[Rle]:
        """(P,) the proposal that overlaps each object most; an empty mask where there is no proposal at all."""
        ious = self._ious(proposals)[:, ~self.crowd]
        if not len(proposals):
            height, width = self.masks[0]["size"]
            return [encode_mask(np.zeros((height, width), bool))] * ious.shape[1]
        return [proposals[index] for index in ious.argmax(axis=0)]

    def _ious(self, proposals: Sequence[Rle]) -> np.ndarray:
        return overlaps(proposals, self.masks, crowd=self.crowd)


def _counts(sample: Sample) -> np.ndarray:
    """(N,) bool: no crowd, and not empty."""
    return np.asarray([mask.any() for mask in sample.masks], bool) & ~sample.crowd


def _in_words(settings: MaskSettings) -> str:
    side = settings.points_per_side
    filters = (
        f"predicted IoU > {settings.pred_iou_thresh:g} and stability >= {settings.stability_score_thresh:g} (logits ± "
        f"{settings.stability_score_offset:g} at the photo's resolution)"
        if settings.pred_iou_thresh or settings.stability_score_thresh
        else "no filter by predicted IoU or stability"
    )
    return f"{side} x {side} foreground points, three masks each, no crops, {filters}, NMS {settings.box_nms_thresh:g}"
