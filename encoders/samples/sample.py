"""The sample type shared by sources, suites and training: a photo and its annotated objects."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A photo with its objects; N of them, 0 where nothing is marked.

    Attributes:
        key: unique name within its data set, without a dot or slash (webdataset splits names at the first dot).
        image: (H, W, 3) uint8 RGB, upright.
        boxes: (N, 4) float32, xyxy, pixels of `image`.
        masks: N masks, (H, W) bool each.
        areas: (N,) float32 in pixels as the data set states them (COCO's size classes use them); the masks' if None.
        category_ids: (N,) int64, 0 where the data set has no categories.
        annotation_ids: (N,) int64, as the data set numbers them; 0..N-1 if None.
        crowd: (N,) bool, True where a mask covers a group (COCO `iscrowd`).
        boundaries: boundary maps of people who drew the photo's edges, (H, W) bool each; BSDS500 has them.
        meta: what travels along: source, licence, attribution, original file name. JSON types only.
    """

    key: str
    image: np.ndarray
    boxes: Any = ()
    masks: Sequence[np.ndarray] = ()
    areas: Any = None
    category_ids: Any = None
    annotation_ids: Any = None
    crowd: Any = None
    boundaries: Sequence[np.ndarray] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.masks)
        numbers = range(count) if self.annotation_ids is None else self.annotation_ids
        values: dict[str, np.ndarray] = {
            "boxes": np.asarray(self.boxes, np.float32).reshape(-1, 4),
            "areas": np.asarray([mask.sum() for mask in self.masks] if self.areas is None else self.areas, np.float32),
            "category_ids": np.asarray(np.zeros(count) if self.category_ids is None else self.category_ids, np.int64),
            "annotation_ids": np.asarray(numbers, np.int64),
            "crowd": np.asarray(np.zeros(count) if self.crowd is None else self.crowd, bool),
        }
        for name, value in values.items():
            if len(value) != count:
                raise ValueError(f"sample {self.key}: {len(value)} {name} for {count} masks")
            object.__setattr__(self, name, value)
        for what, maps in (("mask", self.masks), ("boundary map", self.boundaries)):
            for index, one in enumerate(maps):
                if one.shape != self.shape:
                    raise ValueError(f"sample {self.key}: {what} {index} is {one.shape}, the image {self.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        height, width = self.image.shape[:2]
        return int(height), int(width)

    def image_sha256(self) -> str:
        """sha256 of the image; see `image_sha256`."""
        return image_sha256(self.image)

    def annotations_sha256(self) -> str:
        """sha256 of all but the pixels, in hex: the key, what is marked, `meta`; the same on any machine."""
        digest = hashlib.sha256(json.dumps([self.key, self.shape, self.meta], sort_keys=True).encode())
        for values in (self.boxes, self.areas, self.category_ids, self.annotation_ids, self.crowd):
            digest.update(np.ascontiguousarray(values).data)
        for mask in (*self.masks, *self.boundaries):
            digest.update(np.packbits(mask).data)
        return digest.hexdigest()


def image_sha256(image: np.ndarray) -> str:
    """sha256 of an image's pixels and their shape, in hex. Another JPEG decoder may give other pixels."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
