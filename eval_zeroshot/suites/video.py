"""The video suite: objects given in the first frame, followed from frame to frame by prompts."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from encoders.errors import InputError
from encoders.samples.overlap import mask_iou
from encoders.samples.rle import decode_segmentation, encode_mask, rle_iou
from encoders.samples.sample import Sample
from eval_zeroshot.datasets.davis import HOW_TO_GET as HOW_TO_GET_DAVIS
from eval_zeroshot.datasets.frames import frame_key, sequence_of
from eval_zeroshot.datasets.uvo import HOW_TO_GET as HOW_TO_GET_UVO
from eval_zeroshot.metrics.boundary_f import TOLERANCE, boundary_f
from eval_zeroshot.predictors.protocol import PredictorLike
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.results.result import Estimate, Result
from eval_zeroshot.results.statistics import RESAMPLES, resampled_means
from eval_zeroshot.suites.photo_suite import PhotoSuite
from eval_zeroshot.suites.tracking import BOX_MARGIN, LOGIT, follow

TRACK_NUMBERS = ("value", "J", "F", "J_recall", "F_recall")  # of an object; value is the mean of J and F


class Video(PhotoSuite):
    """J and F of objects followed through a video; see `protocol`.

    A frame is observed after the one before it, whose masks are its prompts. The suite itself remembers nothing: the masks come
    from the observation of the frame before, so an evaluation that was stopped continues in the middle of a sequence.
    """

    name = "video"
    version = "1"
    resamples = RESAMPLES
    drawn = "whole videos"
    title = "J&F"
    family = "video"
    protocol = (
        "stated (DAVIS 2017, davis2017-evaluation, semi-supervised): the objects of the first frame are told; J is the IoU of "
        f"a frame's masks, F that of their outlines within {TOLERANCE} of the diagonal; first and last frame do not count; "
        "void is background; objects do not overlap; mean over frames, then over objects; value is the mean of J and F. not "
        "known: how RepViT-SAM tracked (inferred: SAM-PT, point tracks, whose published settings give other numbers), so that "
        "its 73.5 cannot be compared with this. ours: each frame is prompted with the mask of the frame before: its box "
        f"{BOX_MARGIN:.0%} larger on each side, its pixel farthest from its boundary, and itself as logits of ±{LOGIT:.0f}; "
        "single mask output; an object without a pixel in one frame is lost; where masks overlap the higher predicted IoU "
        "wins. Objects that come in later (UVO) are told in the frame where they are first seen. UVO's AR100 is not measured: "
        "it ranks proposals of whole videos, and where RepViT-SAM took its proposals from is not known. extra: J, F and the "
        "shares of frames above 0.5 of each; n and ± count objects"
    )

    def counted_ids(self, sample: Sample) -> list[int]:
        return [int(number) for number in sample.annotation_ids]

    def predecessor(self, sample: Sample) -> str | None:
        """Key of the frame that must be observed before; None for a first frame.

        Raises:
            InputError: the sample is no frame of a video.
        """
        if "sequence" not in sample.meta:
            raise InputError(
                f"the video suite needs frames of videos, {sample.key} is a photo; give {HOW_TO_GET_DAVIS}; or {HOW_TO_GET_UVO}"
            )
        frame = int(sample.meta["frame"])
        return frame_key(sample.meta["sequence"], frame - 1) if frame else None

    def observe(self, predictor: PredictorLike, sample: Sample) -> Observation:
        """Observe a first frame; the others are observed by `observe_following`."""
        return self.observe_following(predictor, sample, before=None)

    def observe_following(
        self, predictor: PredictorLike, sample: Sample, *, before: Observation | None
    ) -> Observation:
        """Follow the objects into one frame, which the predictor has set.

        Raises:
            InputError: `before` is not the observation of `predecessor(sample)`.
        """
        wanted = self.predecessor(sample)
        if wanted is not None and (before is None or before.key != wanted):
            raise InputError(f"frame {sample.key} was shown without {wanted} before it; show all frames of a video in order")
        ids, given = self.counted_ids(sample), set(sample.meta["given"])
        truths = dict(zip(ids, sample.masks, strict=True))
        known = {} if before is None else dict(zip(before.ids, before.masks, strict=True))
        followed = [number for number in ids if number not in given]
        if strangers := [number for number in followed if number not in known]:
            raise InputError(f"{sample.key}: objects {strangers[:5]} are given in no earlier frame; the annotations have a gap")
        old = [decode_segmentation(known[number], shape=sample.shape) for number in followed]
        masks, scores = follow(predictor, np.stack(old)) if old else (np.zeros((0, *sample.shape), bool), np.zeros(0))
        new = dict(zip(followed, masks, strict=True))
        values: dict[str, list[float]] = {}
        if followed and sample.meta["frame"] < sample.meta["frames"] - 1:
            values = {
                "object": [float(number) for number in followed],
                "predicted_iou": scores.tolist(),
                "J": [float(mask_iou(new[number], truths[number])) for number in followed],
                "F": [boundary_f(new[number], truths[number]) for number in followed],
            }
        return Observation(
            key=sample.key,
            ids=ids,
            areas=[float(area) for area in sample.areas],
            values=values,
            masks=[encode_mask(new.get(number, truths[number])) for number in ids],
        )

    def summarise(
        self,
        observations: Sequence[Observation],
        *,
        model: str,
        dataset: str,
        reference: tuple[str, Sequence[Observation]] | None = None,
    ) -> Result:
        tracks = _tracks(observations)
        objects = {(sequence_of(seen.key), number) for seen in observations for number in seen.ids}
        extra = {name: Estimate.of([numbers[name] for numbers in tracks.values()]) for name in TRACK_NUMBERS}
        value = extra.pop("value")
        if reference is not None:
            extra["agreement"] = Estimate.of([*chain(*_agreement(observations, reference[1]))])
        return self.result(
            value,
            observations,
            model=model,
            dataset=dataset,
            extra=extra,
            skipped={"object without a frame that counts": len(objects - set(tracks))},
            reference=reference,
        )

    def unit(self, key: str) -> str:
        """See `suite.DrawsTogether`: the sequence."""
        return sequence_of(key)

    def resample(
        self,
        observations: Sequence[Observation],
        *,
        weights: np.ndarray,
        reference: Sequence[Observation] | None = None,
    ) -> dict[str, np.ndarray]:
        """See `suite.Resamples`; the frames of a sequence have one weight."""
        tracks = _tracks(observations)
        first: dict[str, int] = {}
        for place, seen in enumerate(observations):
            first.setdefault(sequence_of(seen.key), place)
        of_track = weights[:, [first[sequence] for sequence, _ in tracks]]
        drawn = {
            name: resampled_means([[numbers[name]] for numbers in tracks.values()], weights=of_track) for name in TRACK_NUMBERS
        }
        if reference is not None:
            drawn["agreement"] = resampled_means(_agreement(observations, reference), weights=weights)
        return drawn


def _tracks(observations: Sequence[Observation]) -> dict[tuple[str, int], dict[str, float]]:
    """(sequence, object) -> its numbers over the frames that count; see `TRACK_NUMBERS`."""
    tracks: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for seen in observations:
        numbers = (seen.values.get(name, []) for name in ("object", "J", "F"))
        for number, region, boundary in zip(*numbers, strict=True):
            tracks.setdefault((sequence_of(seen.key), int(number)), []).append((region, boundary))
    found = {}
    for track, its in tracks.items():
        frames = np.asarray(its)  # (frames, 2)
        region, boundary = (float(mean) for mean in frames.mean(axis=0))
        recalls = [float(share) for share in (frames > 0.5).mean(axis=0)]
        found[track] = dict(zip(TRACK_NUMBERS, [(region + boundary) / 2, region, boundary, *recalls], strict=True))
    return found


def _agreement(observations: Sequence[Observation], reference: Sequence[Observation]) -> list[list[float]]:
    """For each frame IoU with the reference's masks, of the objects that count in it."""
    others = {seen.key: seen for seen in reference}
    values = []
    for seen in observations:
        theirs = dict(zip(others[seen.key].ids, others[seen.key].masks, strict=True))
        ours = dict(zip(seen.ids, seen.masks, strict=True))
        values.append([rle_iou(ours[int(number)], theirs[int(number)]) for number in seen.values.get("object", [])])
    return values
