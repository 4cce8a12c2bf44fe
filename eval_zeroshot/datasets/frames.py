"""Frames of a video as samples: one sample a frame, which says where it stands in its sequence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from encoders.geometry import mask_box
from encoders.samples.sample import Sample


def frame_key(sequence: str, frame: int) -> str:
    """The key of a frame, counted from 0."""
    return f"{sequence.replace('.', '_').replace('/', '_')}-{frame:05d}"


def sequence_of(key: str) -> str:
    """The sequence that a frame's key names."""
    return key.rpartition("-")[0]


def video_blocks(frames: Sequence[tuple[Any, int]]) -> list[range]:
    """Numbers of the frames of each video, for all frames as (video, number in it), video after video."""
    starts = [index for index, (_, number) in enumerate(frames) if number == 0]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(frames)], strict=True)]


def frame_sample(
    image: np.ndarray,
    *,
    masks: Mapping[int, np.ndarray],
    given: Sequence[int],
    sequence: str,
    frame: int,
    frames: int,
    source: str,
    file_name: str,
) -> Sample:
    """One frame.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: number of an object -> its mask, (H, W) bool, without a pixel where it is out of sight; of all objects that were
            given in this frame or before.
        given: objects whose mask a tracker is given in this frame, as they are first seen here.
        sequence: name of the video.
        frame: number of the frame in it, from 0.
        frames: how many it has.
        source: name of the data set.
        file_name: of the frame.

    Returns:
        A sample whose `meta` holds `sequence`, `frame`, `frames` and `given`; the box of an empty mask is all zero.
    """
    return Sample(
        key=frame_key(sequence, frame),
        image=image,
        boxes=[mask_box(mask) if mask.any() else np.zeros(4) for mask in masks.values()],
        masks=list(masks.values()),
        annotation_ids=list(masks),
        meta={
            "source": source,
            "file_name": file_name,
            "sequence": sequence,
            "frame": frame,
            "frames": frames,
            "given": [int(number) for number in given],
        },
    )
