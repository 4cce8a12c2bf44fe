"""Prompts drawn from a cache's annotations, in the loader's workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from distill.config.prompt_stage import PromptsConfig
from distill.prompt_stage.batch import DrawnPrompts, PromptedBatch
from encoders.contract import MASK_STRIDE
from encoders.errors import InputError
from encoders.geometry import Shape, scale_boxes
from encoders.samples.image import MAX_PIXELS
from encoders.samples.rle import Rle, decode_segmentation, run_lengths, to_rle
from shards import Batch

SEED_LIMIT = 2**62


@dataclass(frozen=True)
class DrawPrompts:
    """Turns a batch that carries its records into a batch with prompts; what is drawn for a row depends on its place alone.

    Args:
        image_size: S in pixels.
        truth: whether the annotated masks are wanted too, at S/4.
    """

    config: PromptsConfig
    seed: int
    image_size: int
    truth: bool

    def __call__(self, batch: Batch, places: Sequence[int]) -> PromptedBatch:
        """Draw `per_photo` prompts for each photo; `places` are the rows' places in the endless training sequence.

        Raises:
            InputError: an annotation is damaged; names the photo.
        """
        assert batch.records is not None
        rows: list[_Row] = []
        photos = zip(batch.keys, batch.records, batch.shapes, places, strict=True)
        for number, (key, record, shape, place) in enumerate(photos):
            rng = np.random.default_rng((self.seed, place))
            try:
                rows += self._of_photo(number, record, shape=shape, rng=rng)
            except (InputError, KeyError, TypeError, ValueError) as error:
                raise InputError(f"{key}: its annotations cannot be used ({error}); make its shard again") from error
        rows.sort(key=lambda row: row.kind)  # stable
        prompts = DrawnPrompts(
            image_index=torch.tensor([row.photo for row in rows]),
            points=torch.from_numpy(np.stack([row.point for row in rows]))[:, None],
            boxes=torch.from_numpy(np.stack([row.box for row in rows])),
            jittered=torch.tensor([row.jittered for row in rows]),
            seeds=torch.tensor([row.seed for row in rows]),
            truth=self._truth(rows) if self.truth else None,
            annotated=torch.tensor([row.object is not None for row in rows]),
            drawn=sum(row.kind == DRAWN_BOX for row in rows),
            boxed=sum(row.kind != POINT for row in rows),
        )
        return PromptedBatch(photos=batch, prompts=prompts)

    def _of_photo(self, number: int, record: dict[str, Any], *, shape: Shape, rng: np.random.Generator) -> list["_Row"]:
        config, original = self.config, _original_shape(record)
        objects = [] if config.source == "teacher" else self._objects(record, original=original, shape=shape)
        is_box = rng.random(config.per_photo) < config.box_share
        jittered = rng.random(config.per_photo) >= config.exact_box_share
        seeds = rng.integers(0, SEED_LIMIT, config.per_photo)
        order = np.resize(rng.permutation(len(objects)), config.per_photo) if objects else [None] * config.per_photo
        scale = np.asarray([shape[1] / original[1], shape[0] / original[0]])
        rows = []
        for which, boxed, moved, seed in zip(order, is_box, jittered, seeds, strict=True):
            found = None if which is None else objects[which]
            box = np.zeros(4, np.float32)
            if found is None:
                point = rng.uniform(0, [shape[1] - 1, shape[0] - 1])
            else:
                point = (pixel_inside(found, rng=rng) + 0.5) * scale - 0.5
                x, y, width, height = coco_mask.toBbox(found)
                corners = np.asarray([[x, y, x + width, y + height]])
                box = scale_boxes(corners, shape=original, image_size=self.image_size)[0]
            kind = POINT if not boxed else DRAWN_BOX if found is None else GIVEN_BOX
            rows.append(_Row(number, kind, point.astype(np.float32), box, bool(moved), int(seed), found, shape))
        return rows

    def _objects(self, record: dict[str, Any], *, original: Shape, shape: Shape) -> list[Rle]:
        """Return the masks of the objects that are large enough, in pixels of the original photo."""
        smallest = self.config.min_pixels * (original[0] * original[1]) / (shape[0] * shape[1])
        wanted = [one for one in record["annotations"] if not one["iscrowd"] and one["area"] >= smallest]
        masks = [to_rle(one["segmentation"], shape=original) for one in wanted]
        return [mask for mask, area in zip(masks, coco_mask.area(masks) if masks else [], strict=True) if area]

    def _truth(self, rows: Sequence["_Row"]) -> torch.Tensor:
        """(P, S/4, S/4) float32: the share of each cell that is object; 0 where there is no true mask."""
        side = self.image_size // MASK_STRIDE
        shares = np.zeros((len(rows), side, side), np.float32)
        for share, row in zip(shares, rows, strict=True):
            if row.object is not None:
                size = row.object["size"]
                mask = decode_segmentation(row.object, shape=(size[0], size[1]))
                height, width = row.shape
                stored = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BILINEAR)
                frame = np.zeros((self.image_size, self.image_size), np.float32)
                frame[:height, :width] = np.asarray(stored) > 127
                share[:] = frame.reshape(side, MASK_STRIDE, side, MASK_STRIDE).mean(axis=(1, 3))
        return torch.from_numpy(shares)


DRAWN_BOX, GIVEN_BOX, POINT = range(3)  # kinds of prompts, in the order of `DrawnPrompts`


@dataclass(frozen=True)
class _Row:
    photo: int
    kind: int
    point: np.ndarray
    box: np.ndarray
    jittered: bool
    seed: int
    object: Rle | None
    shape: Shape


def _original_shape(record: dict[str, Any]) -> Shape:
    """Return the (height, width) of the original photo. Raises InputError if the record states none."""
    height, width = record["height"], record["width"]
    if not all(type(side) is int and 0 < side <= MAX_PIXELS for side in (height, width)):
        raise InputError("its height and width are not those of a photo")
    return height, width


def pixel_inside(mask: Rle, *, rng: np.random.Generator) -> np.ndarray:
    """Return a random pixel of a mask, (2,) float64 xy.

    It goes by the runs alone: decoding SA-1B's masks would take most of a worker's time.

    Args:
        mask: compressed RLE, not empty; it runs down the columns.
    """
    runs = run_lengths(mask["counts"])
    ends, inside = np.cumsum(runs), runs[1::2]
    number = int(rng.integers(inside.sum()))
    run = int(np.searchsorted(np.cumsum(inside), number, side="right"))
    place = int(ends[2 * run + 1] - inside[: run + 1].sum() + number)
    column, row = divmod(place, mask["size"][0])
    return np.asarray([column, row], np.float64)
