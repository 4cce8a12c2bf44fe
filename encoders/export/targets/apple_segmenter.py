"""Apple's `ImageSegmenter` (apple/coreai-models): a bundle of metadata.json and one Core AI asset.

Source: apple/coreai-models, `ModelBundle.swift`, `ImageSegmentationEngine.swift` and `models/efficient-sam/export.py`.
"""

import json
from pathlib import Path

import numpy as np
import torch

from encoders.contract import STRIDE
from encoders.errors import InputError
from encoders.export.formats.base import How, no_mask_input
from encoders.export.formats.coreai import HalfEncoder, core_version
from encoders.export.formats.coreai_asset import EXTRA, SUFFIX, Asset, write_asset
from encoders.export.modules.exportable import exportable
from encoders.export.modules.pixel_encoder import PAD_COLOUR, to_pixels
from encoders.export.modules.prompt_decoder import PADDING, TOP_LEFT
from encoders.export.targets.apple_segmenter_module import NOT_MEANT, Segmenter
from encoders.sam import Sam
from encoders.untrusted import read_json

QUERIES = 4  # prompts of a call: a square number, because ImageSegmenter segments everything with a grid of that many points
POINTS = 8  # of a prompt; a box takes two
METADATA = "metadata.json"
MAX_METADATA_BYTES = 2**20
INPUTS = ("batched_images", "batched_points", "batched_point_labels")
OUTPUTS = ("pred_masks", "iou_scores", "image_embeddings")
PADDING_RULE = (
    "ImageSegmenter stretches the photo to a square, and the model normalises it; measured on photos padded right and below "
    f"with the colour {PAD_COLOUR}"
)
DESCRIPTION = (
    "batched_images (1, 3, {size}, {size}) RGB in [0, 1]; batched_points (1, {queries}, {points}, 2) xy in pixels of it; "
    "batched_point_labels (1, {queries}, {points}): 1 foreground, 0 background, 2 and 3 top left and bottom right corner of a "
    "box, -1 for no point -> pred_masks (1, {queries}, 4, {mask}, {mask}) logits, the single mask first; iou_scores "
    "(1, {queries}, 4), predicted IoU, minus {not_meant:g} for the masks that SAM would not return; image_embeddings "
    "(1, 256, {side}, {side}). All float32."
)
README = """# For Apple's ImageSegmenter

A segmenter bundle: `metadata.json` and `{asset}`, for the Swift package of apple/coreai-models.

```swift
let segmenter = try await ImageSegmenter(resourcesAt: "path/to/this/folder")
let box = PointQuery(points: [
    .init(x: 100, y: 100, label: .boxTopLeft),
    .init(x: 400, y: 300, label: .boxBottomRight),
])
let found = try await segmenter.segment(image: photo, pointQuery: box)
```

A call takes up to {queries} queries of up to {points} points each; a box takes two points. With fewer points the masks are
still SAM's: the padding points that ImageSegmenter adds are ignored. For a single point ImageSegmenter returns the best of
SAM's three candidates, for a box or several points SAM's single mask. Queries with and without a box can be mixed.

ImageSegmenter stretches the photo to {size} x {size}, whereas SAM keeps its shape and pads it, so masks differ from those of
segment-anything. They need not be worse: on 70 boxed objects in 20 photos, a RepViT-M0.6 student of 256 px reached a mean IoU
with the ground truth of 0.601 on stretched photos and 0.586 on padded ones. To get segment-anything's masks, pad the photo to a
square, right and below, with the colour (124, 116, 104), and crop the masks afterwards.
"""


class AppleSegmenterTarget:
    """A bundle of fixed shapes, `QUERIES` prompts of up to `POINTS` points. "fp16" applies to the image encoder alone."""

    name = "apple-segmenter"
    format = "coreai"
    extra = EXTRA
    precisions: tuple[str, ...] = ("fp32", "fp16")
    padding = PADDING_RULE
    points: tuple[int, ...] = (2, 3)
    takes_masks = False
    elsewhere = ("ImageSegmenter on macOS and iOS",)

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        size, name = sam.image_size, f"{sam.arch}_{sam.image_size}_{precision}"
        encoder = exportable(sam.image_encoder)
        sizes = {"size": size, "side": size // STRIDE, "mask": size // 4, "queries": QUERIES, "points": POINTS}
        write_asset(
            Segmenter(sam, HalfEncoder(encoder) if precision == "fp16" else encoder),
            folder / f"{name}{SUFFIX}",
            example=(torch.zeros(1, 3, size, size), torch.zeros(1, QUERIES, POINTS, 2), torch.ones(1, QUERIES, POINTS)),
            inputs=INPUTS,
            outputs=OUTPUTS,
            description=DESCRIPTION.format(not_meant=NOT_MEANT, **sizes),
        )
        metadata = {"metadata_version": "0.2", "kind": "segmenter", "name": name, "assets": {"main": f"{name}{SUFFIX}"}}
        (folder / METADATA).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(README.format(asset=f"{name}{SUFFIX}", **sizes), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "SegmenterRuntime":
        """See `Format.open`. Core AI chooses the number of threads itself."""
        return SegmenterRuntime(folder, precision=precision)


class SegmenterRuntime:
    """A segmenter bundle run by Core AI. Its decoder cannot be called alone, so each call encodes the photo again.

    Raises:
        MissingExtra: coreai-core is not installed.
        InputError: the bundle is damaged.
    """

    how: How = "executed"

    def __init__(self, folder: Path, *, precision: str) -> None:
        self.name = f"Core AI {core_version()}"
        self.precision = precision
        self._asset = Asset(folder / main_asset(folder))
        self._pixels = np.zeros(0, np.float32)
        self._embedding = np.zeros(0, np.float32)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`. Padding of zeros becomes the colour that `PixelEncoder` treats as padding."""
        self._pixels = (to_pixels(torch.from_numpy(image)).float() / 255).numpy()
        *_, self._embedding = self._ask(*empty_queries())
        return self._embedding

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`, for the embedding that `encode` gave last.

        Raises:
            InputError: the embedding is a different one, masks are given, or there are more points than the bundle takes.
        """
        no_mask_input(masks)
        if not np.array_equal(embedding, self._embedding):
            raise InputError("a segmenter bundle takes a photo, not an embedding; encode the photo just before decoding")
        logits, scores = [], []
        for start in range(0, len(coords), QUERIES):
            some = slice(start, start + QUERIES)
            points, kinds = empty_queries()
            for query, (places, own) in enumerate(zip(coords[some], labels[some], strict=True)):
                given = own != PADDING
                count = int(given.sum())
                if count > POINTS:
                    raise InputError(f"a prompt has {count} points; this bundle takes at most {POINTS}, and a box is two")
                points[0, query, :count], kinds[0, query, :count] = places[given], own[given]
            found, predicted, _ = self._ask(points, kinds)
            asked = len(coords[some])
            logits.append(found[0, :asked])
            scores.append(predicted[0, :asked] + NOT_MEANT * not_meant(kinds[0, :asked]))
        return np.concatenate(logits), np.concatenate(scores)

    def _ask(self, points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
        found = self._asset(**dict(zip(INPUTS, (self._pixels, points, labels), strict=True)))
        return tuple(found[name] for name in OUTPUTS)


def empty_queries() -> tuple[np.ndarray, np.ndarray]:
    """Return points (1, Q, P, 2) and labels (1, Q, P), float32, without any prompt; ImageSegmenter fills them with -1."""
    return np.full((1, QUERIES, POINTS, 2), -1, np.float32), np.full((1, QUERIES, POINTS), PADDING, np.float32)


def not_meant(labels: np.ndarray) -> np.ndarray:
    """(Q, P) -> (Q, 4) float32: 1 for the masks that SAM would not return for such a prompt, see `Segmenter`."""
    several = (labels >= TOP_LEFT).any(axis=1) | ((labels != PADDING).sum(axis=1) > 1)
    return np.stack([~several, several, several, several], axis=1).astype(np.float32)


def main_asset(folder: Path) -> str:
    """Return the file name of a segmenter bundle's asset.

    Raises:
        InputError: metadata.json is missing, damaged, or describes another kind of bundle.
    """
    path = folder / METADATA
    metadata = read_json(path, max_bytes=MAX_METADATA_BYTES)
    try:
        name = metadata["assets"]["main"]
        fits = metadata["metadata_version"] == "0.2" and metadata["kind"] == "segmenter" and Path(name).name == name
    except (LookupError, TypeError) as error:
        raise InputError(f"{path} is not the metadata of a segmenter bundle ({error!r}); export the model again") from error
    if not fits:
        raise InputError(f"{path} is not the metadata of a segmenter bundle of version 0.2; export the model again")
    return str(name)
