"""Suites: a named, versioned protocol that asks a predictor about samples and sums up what it saw.

`observe` looks at one photo and `summarise` turns all observations of one model into a result, so photos can be spread
over processes, resumed, and compared pairwise later. A further suite needs those two methods and a line in `SUITES`.
"""

import difflib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape
from encoders.overlap import mask_iou
from encoders.rle import encode_mask, rle_iou
from encoders.sample import Sample
from eval_zeroshot.clicks import Click, centre_point, next_click
from eval_zeroshot.edges.suite import Edges
from eval_zeroshot.metrics import SIZES, size_class
from eval_zeroshot.observations import Observation
from eval_zeroshot.protocol import PredictorLike, ask, prompts_per_call
from eval_zeroshot.results import Direction, Estimate, Result


class Suite(Protocol):
    """What the evaluation loop and the table need of a suite."""

    name: str
    version: str
    direction: Direction
    protocol: str

    def counted_ids(self, sample: Sample) -> list[int]:
        """Annotation ids of the objects that count, in the order of the observation."""

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        """Ask about one photo, which the predictor has set."""

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        """One model's result; `reference` is another model's name and its observations of the same photos."""

    def run(
        self, predictor: PredictorLike, samples: Iterable[Sample], *, model: str = "model", dataset: str = "samples"
    ) -> Result:
        """Observe all samples and sum up."""


@runtime_checkable
class KeepsFiles(Protocol):
    """A suite whose answers on a photo are worth a file, to look at and to continue from."""

    def observe_keeping(self, predictor: PredictorLike, sample: Sample, *, folder: Path | None) -> Observation:
        """`observe`, with files in a folder for this data set, suite and model; it need not exist. None keeps nothing."""


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Some objects of one photo: P truths (P, H, W) bool and their boxes (P, 4) xyxy in pixels of the photo."""

    shape: Shape
    truths: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a predictor made of P objects: named values (P,), and the masks (P, H, W) that agreement is measured on."""

    values: dict[str, np.ndarray]
    masks: np.ndarray


class InstanceIou(ABC):
    """Mean IoU over objects, each prompted alone. Crowds and objects without a pixel are skipped and counted."""

    name: str
    version: str
    protocol: str
    primary: str
    direction: Direction = "higher"

    @abstractmethod
    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        """Prompt for P objects at once."""

    def counted_ids(self, sample: Sample) -> list[int]:
        return [int(sample.annotation_ids[index]) for index in _counted(sample)]

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        counted, step = _counted(sample), prompts_per_call(sample.shape)
        values: dict[str, list[float]] = {}
        masks = []
        for start in range(0, len(counted), step):
            chosen = counted[start : start + step]
            truths = np.stack([sample.masks[index] for index in chosen])
            answers = self.answer(predictor, Objects(shape=sample.shape, truths=truths, boxes=sample.boxes[chosen]))
            masks += [encode_mask(mask) for mask in answers.masks]
            for name, array in answers.values.items():
                values.setdefault(name, []).extend(float(value) for value in array)
        crowds = int(np.sum(sample.crowd))
        return Observation(
            key=sample.key,
            ids=self.counted_ids(sample),
            areas=[float(sample.areas[index]) for index in counted],
            values=values,
            masks=masks,
            skipped={"crowd": crowds, "empty": len(sample.masks) - crowds - len(counted)},
        )

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        by_name: dict[str, list[float]] = {self.primary: []}
        by_size: dict[str, list[float]] = {size: [] for size in SIZES}
        skipped: Counter[str] = Counter()
        for seen in observations:
            skipped.update(seen.skipped)
            for name, values in seen.values.items():
                by_name.setdefault(name, []).extend(values)
            for area, value in zip(seen.areas, seen.values.get(self.primary, []), strict=True):
                by_size[size_class(area)].append(value)
        extra = {name: Estimate.of(values) for name, values in by_name.items() if name != self.primary}
        if reference is not None:
            extra["agreement"] = Estimate.of(agreement(observations, reference[1]))
        return Result(
            suite=self.name,
            version=self.version,
            protocol=self.protocol,
            direction=self.direction,
            model=model,
            dataset=dataset,
            images=len(observations),
            skipped=dict(skipped),
            breakdown={size: Estimate.of(values) for size, values in by_size.items()},
            extra=extra,
            reference=None if reference is None else reference[0],
            **Estimate.of(by_name[self.primary]).model_dump(),
        )

    def run(
        self, predictor: PredictorLike, samples: Iterable[Sample], *, model: str = "model", dataset: str = "samples"
    ) -> Result:
        observations = []
        for sample in samples:
            predictor.set_image(sample.image)
            observations.append(self.observe(predictor, sample))
        return self.summarise(observations, model=model, dataset=dataset)


class BoxIou(InstanceIou):
    """Ground-truth boxes; see `protocol`."""

    name = "box"
    version = "1"
    primary = "single"
    protocol = (
        "ground-truth box as annotated, one prompt an object; single mask output (SAM's mask token 0); IoU at the "
        "photo's resolution; mean over objects, crowds skipped. extra: most_confident and oracle of the three masks"
    )

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        masks, _, _ = ask(predictor, shape=objects.shape, boxes=objects.boxes, multimask=False)
        three, scores, _ = ask(predictor, shape=objects.shape, boxes=objects.boxes, multimask=True)
        ious = mask_iou(three, objects.truths[:, None])
        return Answers(
            values={
                "single": mask_iou(masks[:, 0], objects.truths),
                "most_confident": _pick(ious, scores),
                "oracle": ious.max(axis=1),
            },
            masks=masks[:, 0],
        )


class PointIou(InstanceIou):
    """Clicks of a simulated user; see `protocol`.

    Args:
        clicks: numbers of clicks to report besides the first.
    """

    name = "point"
    version = "1"
    primary = "click_1"

    def __init__(self, *, clicks: Sequence[int] = (3, 5)) -> None:
        self.clicks = tuple(clicks)
        extra = ", ".join([*(f"click_{count}" for count in self.clicks), "oracle of the three masks"])
        self.protocol = (
            "first click at the object's pixel farthest from its boundary, the most confident of three masks; each "
            "further click at the pixel of the error regions farthest from its region's boundary, given with all "
            "earlier clicks and the logits of the mask before, single mask output; a perfect mask gets no further "
            f"click and is kept; IoU at the photo's resolution; mean over objects, crowds skipped. extra: {extra}"
        )

    def answer(self, predictor: PredictorLike, objects: Objects) -> Answers:
        history = [[centre_point(truth)] for truth in objects.truths]
        points, labels = _prompts(history)
        three, scores, logits = ask(predictor, shape=objects.shape, points=points, labels=labels, multimask=True)
        best = scores.argmax(axis=1)
        every = np.arange(len(best))
        first = three[every, best]
        ious = mask_iou(three, objects.truths[:, None])
        values = {"click_1": ious[every, best], "oracle": ious.max(axis=1)}
        masks, logits = first.copy(), logits[every, best][:, None].copy()
        for count in range(2, max(self.clicks, default=1) + 1):
            self._refine(predictor, objects, history=history, masks=masks, logits=logits)
            if count in self.clicks:
                values[f"click_{count}"] = mask_iou(masks, objects.truths)
        return Answers(values=values, masks=first)

    def _refine(
        self,
        predictor: PredictorLike,
        objects: Objects,
        *,
        history: list[list[Click]],
        masks: np.ndarray,
        logits: np.ndarray,
    ) -> None:
        """One more click for each object that is not perfect yet; `history`, `masks` and `logits` are updated."""
        wrong = []
        for index, (truth, mask) in enumerate(zip(objects.truths, masks, strict=True)):
            click = next_click(truth, mask)
            if click is not None:
                history[index].append(click)
                wrong.append(index)
        if not wrong:
            return
        # An object that is perfect once stays so, hence those still wrong have the same number of clicks.
        points, labels = _prompts([history[index] for index in wrong])
        found, _, feedback = ask(
            predictor, shape=objects.shape, points=points, labels=labels, masks=logits[wrong], multimask=False
        )
        masks[wrong], logits[wrong] = found[:, 0], feedback


def agreement(observations: Sequence[Observation], reference: Sequence[Observation]) -> list[float]:
    """IoU of each object's mask with the reference's mask for the same prompt.

    Raises:
        InputError: the reference has not seen the same objects.
    """
    masks = {seen.key: seen for seen in reference}
    values = []
    for seen in observations:
        other = masks.get(seen.key)
        if other is None or other.ids != seen.ids:
            raise InputError(f"the reference has no masks for the same objects of photo {seen.key}")
        values += [rle_iou(mine, theirs) for mine, theirs in zip(seen.masks, other.masks, strict=True)]
    return values


def _counted(sample: Sample) -> list[int]:
    return [index for index, mask in enumerate(sample.masks) if not sample.crowd[index] and mask.any()]


def _pick(ious: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(P,) the IoU of each prompt's most confident mask, of (P, M) IoUs and (P, M) scores."""
    return np.asarray(ious[np.arange(len(ious)), scores.argmax(axis=1)])


def _prompts(history: Sequence[Sequence[Click]]) -> tuple[np.ndarray, np.ndarray]:
    """P click sequences of equal length N -> points (P, N, 2) float32 xy and labels (P, N) int64."""
    clicks = np.asarray(history, np.float32)
    return clicks[..., :2], clicks[..., 2].astype(np.int64)


box_iou = BoxIou()
point_iou = PointIou()
edges = Edges()
SUITES: dict[str, Suite] = {suite.name: suite for suite in (box_iou, point_iou, edges)}


def get_suite(name: str, *, others: Iterable[str] = ()) -> Suite:
    """A suite by name.

    Raises:
        InputError: there is none; near misses are named, among `others` too, which are made elsewhere.
    """
    if name in SUITES:
        return SUITES[name]
    known = sorted({*SUITES, *others})
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InputError(f"no suite is called {name!r}; {hint}suites: {', '.join(known)}")
