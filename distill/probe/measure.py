"""Measuring a student on a probe's photos, on the device; its numbers reach the host in one transfer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.probe.photos import ProbeBatch
from distill.prompt_stage.teacher_boxes import mask_boxes
from encoders.decoder.masks import pick_masks
from encoders.errors import InputError
from encoders.sam import Sam
from shards import DeviceBatch

KINDS = ("point", "box")
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}  # COCO's areas, in pixels of the stored photo


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The masks of the teacher for P prompts of one kind.

    Attributes:
        logits: (P, S/4, S/4); scores: (P,), predicted IoU.
        token: (P,) int64, which of the decoder's masks they are; None for boxes, whose single mask is taken.
        boxes: (P, 4), the prompts; None for points.
    """

    logits: Tensor
    scores: Tensor
    token: Tensor | None = None
    boxes: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """A batch on the device with its references by kind."""

    batch: ProbeBatch
    references: dict[str, Reference]


class Measure:
    """Compares a student's embeddings and masks with its teacher's.

    For a box the decoder's single mask is compared. For a point it is the one of the three that the teacher is most confident
    of, and the same of the student's: which one a student would prefer depends on its scores, whose gap is measured apart.

    Args:
        teacher: a Sam with the teacher's prompt encoder and mask decoder, on the device; its image encoder is not used.
        batches: the photos, whose embeddings are the teacher's.
        device: where to measure.

    Attributes:
        prompts: number of prompts whose mask is not empty, by kind and size: {"point": {"small": 3, ...}, ...}.

    Raises:
        InputError: the teacher finds no mask on any photo.
    """

    def __init__(self, teacher: Sam, batches: Sequence[ProbeBatch], *, device: torch.device) -> None:
        self._device = device
        self.groups = [self._with_references(teacher, batch) for batch in batches]
        areas = [self._areas(group, kind) for kind in KINDS for group in self.groups]
        self._areas_of = np.split(torch.cat(areas).cpu().numpy(), len(KINDS))
        if not any(area.any() for area in self._areas_of):
            raise InputError("the teacher finds no mask on any photo of the probe; give another probe.seed or probe.cache")
        self.prompts = {
            kind: {size: int(_within(area, size).sum()) for size in SIZES}
            for kind, area in zip(KINDS, self._areas_of, strict=True)
        }
        self.photos = sum(len(batch.photos.keys) for batch in batches)

    @torch.no_grad()
    def __call__(self, sam: Sam) -> dict[str, float]:
        """Return means by name: mse, cosine; iou; and for points and boxes `box_iou`, `box_iou_small`, `box_score_gap`, ...

        `mse` and `cosine` (similarity) are means over valid positions, then over photos; all others are means over prompts.
        `iou` is the mean of all. A score gap is the predicted IoU of the student minus that of its teacher. Sizes are those of
        the teacher's masks; where there is none of a size, its name is missing.
        """
        parts: dict[str, list[Tensor]] = {name: [] for name in ("mse", "cosine", *KINDS, "point gap", "box gap")}
        for group in self.groups:
            there = self._on_device(group.batch)
            student = _embed(sam, there)
            parts["mse"].append(_per_photo((student - there.teacher).square().mean(dim=1, keepdim=True), there.valid))
            parts["cosine"].append(_per_photo(F.cosine_similarity(student, there.teacher, dim=1)[:, None], there.valid))
            visible = self._visible(group.batch)
            for kind, reference in group.references.items():
                logits, scores = _decode(sam, student, group.batch, reference)
                parts[kind].append(_iou(logits, reference.logits, visible))
                parts[f"{kind} gap"].append(scores - reference.scores)
        joined = {name: torch.cat(some) for name, some in parts.items()}
        read = torch.cat([*joined.values()]).cpu().double().numpy()  # the one transfer
        ends = np.cumsum([len(some) for some in joined.values()])[:-1]
        return self._means(dict(zip(joined, np.split(read, ends), strict=True)))

    def _means(self, values: dict[str, np.ndarray]) -> dict[str, float]:
        there = {kind: area > 0 for kind, area in zip(KINDS, self._areas_of, strict=True)}
        means = {"iou": float(np.concatenate([values[kind][there[kind]] for kind in KINDS]).mean())}
        for kind, area in zip(KINDS, self._areas_of, strict=True):
            if not there[kind].any():
                continue
            means[f"{kind}_iou"] = float(values[kind][there[kind]].mean())
            for size in SIZES:
                if (within := _within(area, size)).any():
                    means[f"{kind}_iou_{size}"] = float(values[kind][within].mean())
            means[f"{kind}_score_gap"] = float(values[f"{kind} gap"][there[kind]].mean())
        return means | {name: float(values[name].mean()) for name in ("mse", "cosine")}

    @torch.no_grad()
    def masks(self, sam: Sam, *, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the masks for the boxes of a group, of the teacher and of a student: (P, S, S) bool each, in input frames."""
        there, batch = self._on_device(self.groups[group].batch), self.groups[group].batch
        reference, visible = self.groups[group].references["box"], self._visible(batch)
        logits, _ = _decode(sam, _embed(sam, there), batch, reference)
        both = torch.stack([_pixels(reference.logits, visible), _pixels(logits, visible)]).cpu().numpy()
        return both[0], both[1]

    @torch.no_grad()
    def _with_references(self, teacher: Sam, batch: ProbeBatch) -> Group:
        """Move a batch to the device and decode the teacher's embeddings; boxes that are not given are drawn there."""
        there = self._moved(batch)
        embeddings = self._on_device(there).teacher
        many, scores = teacher.decode(embeddings, image_index=there.image_index, points=there.points, labels=_labels(there))
        score, token = scores.max(dim=1)
        points = Reference(logits=pick_masks(many, token), scores=score, token=token)
        drawn, _ = mask_boxes((points.logits > 0) & _cells(self._visible(there), many.shape[-1]))
        boxes = torch.where(there.drawn[:, None], drawn, there.boxes)
        single, score = teacher.decode(embeddings, image_index=there.image_index, multimask=False, boxes=boxes)
        there = replace(there, boxes=boxes)
        box = Reference(logits=single[:, 0], scores=score[:, 0], boxes=boxes)
        return Group(batch=there, references={"point": points, "box": box})

    def _areas(self, group: Group, kind: str) -> Tensor:
        """(P,) pixels of the teacher's masks; 0 also where its mask for the point was empty, so that there is no box."""
        visible = self._visible(group.batch)
        area = _pixels(group.references[kind].logits, visible).sum(dim=(1, 2))
        if kind == "point":
            return area
        sides = group.batch.boxes[:, 2:] - group.batch.boxes[:, :2]
        return area * (sides > 0).all(dim=1)

    def _moved(self, batch: ProbeBatch) -> ProbeBatch:
        """Copy a batch to the device, the photos as bytes; their sizes stay here, where they are asked for."""
        photos = batch.photos
        sizes = photos.sizes.pin_memory() if self._device.type == "cuda" else photos.sizes
        moved = {name: getattr(photos, name).to(self._device) for name in ("pixels", "codes", "scales")}
        there = replace(photos, sizes=sizes, **moved)
        rest = {name: getattr(batch, name).to(self._device) for name in ("image_index", "points", "boxes", "drawn")}
        return replace(batch, photos=there, **rest)

    def _on_device(self, batch: ProbeBatch) -> DeviceBatch:
        return batch.photos.to_device(self._device)

    def _visible(self, batch: ProbeBatch) -> Tensor:
        """(P, S, S) bool: the photo of each prompt inside its input frame."""
        sizes = batch.photos.sizes.to(self._device, non_blocking=True)
        places = torch.arange(batch.photos.pixels.shape[-1], device=self._device)
        inside = (places < sizes[:, :1])[:, :, None] & (places < sizes[:, 1:])[:, None, :]
        return inside[batch.image_index]


def _embed(sam: Sam, batch: DeviceBatch) -> Tensor:
    return sam.image_encoder(batch.image.contiguous(memory_format=torch.channels_last)).float()


def _labels(batch: ProbeBatch) -> Tensor:
    return torch.ones_like(batch.points[..., 0], dtype=torch.long)


def _decode(sam: Sam, embeddings: Tensor, batch: ProbeBatch, reference: Reference) -> tuple[Tensor, Tensor]:
    """Return logits (P, S/4, S/4) and predicted IoU (P,) of the masks that the reference has."""
    if reference.token is None:
        logits, scores = sam.decode(embeddings, image_index=batch.image_index, multimask=False, boxes=reference.boxes)
        return logits[:, 0], scores[:, 0]
    logits, scores = sam.decode(embeddings, image_index=batch.image_index, points=batch.points, labels=_labels(batch))
    return pick_masks(logits, reference.token), pick_masks(scores, reference.token)


def _cells(visible: Tensor, side: int) -> Tensor:
    """(P, S, S) -> (P, side, side): the first pixel of each cell."""
    stride = visible.shape[-1] // side
    return visible[:, ::stride, ::stride]


def _pixels(logits: Tensor, visible: Tensor) -> Tensor:
    """(P, S/4, S/4) logits -> (P, S, S) bool, masks in pixels of the input frame, as SAM upscales them."""
    frame = F.interpolate(logits[:, None].float(), visible.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return (frame > 0) & visible


def _iou(student: Tensor, teacher: Tensor, visible: Tensor) -> Tensor:
    """(P,) IoU of masks given as logits; of two empty ones 1."""
    mine, theirs = _pixels(student, visible), _pixels(teacher, visible)
    overlap, union = (some.sum(dim=(1, 2)).float() for some in (mine & theirs, mine | theirs))
    return torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union))


def _per_photo(values: Tensor, valid: Tensor) -> Tensor:
    """(B, 1, h, w) -> (B,): the mean over valid positions."""
    keep = valid.to(values.dtype)
    return (values * keep).sum(dim=(1, 2, 3)) / keep.sum(dim=(1, 2, 3)).clamp(min=1)


def _within(area: np.ndarray, size: str) -> np.ndarray:
    least, limit = SIZES[size]
    return (area > 0) & (area >= least) & (area < limit)
