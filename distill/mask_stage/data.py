"""Batches of photos with prompts and their true masks, for the mask stage.

The content of a position in an epoch depends only on (seed, epoch, position), so any rank or worker can produce it.
"""

from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from distill.config.mask import MaskDataConfig
from distill.mask_stage.augmentation import View, jitter_colour, paste, random_view
from distill.mask_stage.batch import MaskBatch, merge
from distill.mask_stage.prompts import jitter_box, point_inside
from encoders.contract import MASK_STRIDE
from encoders.errors import InputError
from encoders.geometry import mask_box
from encoders.preprocess import pad_to_square
from encoders.samples.sample import Sample
from eval_zeroshot.prompting.clicks import centre_point

Position = tuple[int, int]  # (epoch, position in the epoch)
MAX_DRAWS = 50  # photos tried for one position before the data is called unusable


class Photos(Protocol):
    """Samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class PromptedPhotos(Dataset[MaskBatch]):
    """Position (epoch, i) -> a batch of one photo with its prompts."""

    def __init__(self, photos: Photos, *, image_size: int, seed: int, config: MaskDataConfig) -> None:
        if not len(photos):
            raise InputError("the mask stage has no photos; name at least one data set with masks under mask_data.sets")
        self.photos = photos
        self.image_size = image_size
        self.seed = seed
        self.config = config

    def __getitem__(self, position: Position) -> MaskBatch:
        epoch, index = position
        rng = np.random.default_rng((self.seed, epoch, index))
        first = int(np.random.default_rng((self.seed, epoch)).permutation(len(self.photos))[index])
        key, view = self._view(first, rng=rng)
        return self._prompts(key, view, rng=rng)

    def _view(self, first: int, *, rng: np.random.Generator) -> tuple[str, View]:
        """Return a view with at least one object, of photo `first` or, if its crops show none, of another photo."""
        config = self.config
        index = first
        for _ in range(MAX_DRAWS):
            sample, view = self._crop(index, rng=rng)
            if len(view.masks) and rng.random() < config.paste_probability:
                _, donor = self._crop(int(rng.integers(len(self.photos))), rng=rng)
                donor = View(jitter_colour(donor.image, strength=config.colour, rng=rng), donor.masks)
                view = paste(view, donor, count=config.paste_objects, min_pixels=config.min_pixels, rng=rng)
            if len(view.masks):
                return sample.key, View(jitter_colour(view.image, strength=config.colour, rng=rng), view.masks)
            index = int(rng.integers(len(self.photos)))
        raise InputError(
            f"no object of at least {config.min_pixels} pixels in {MAX_DRAWS} photos; lower mask_data.min_pixels or check the "
            "masks"
        )

    def _crop(self, index: int, *, rng: np.random.Generator) -> tuple[Sample, View]:
        sample = self.photos[index]
        view = random_view(
            sample,
            image_size=self.image_size,
            scale=self.config.scale,
            max_masks=self.config.max_masks,
            min_pixels=self.config.min_pixels,
            rng=rng,
        )
        return sample, view

    def _prompts(self, key: str, view: View, *, rng: np.random.Generator) -> MaskBatch:
        config, size = self.config, self.image_size
        count = config.prompts_per_photo
        order = np.resize(rng.permutation(len(view.masks)), count)
        is_box = rng.random(count) < config.box_share
        boxes, points = np.zeros((count, 4), np.float32), np.zeros((count, 1, 2), np.float32)
        for row, index in enumerate(order):
            mask = view.masks[index]
            if is_box[row]:
                exact = rng.random() < config.exact_box_share
                box = mask_box(mask)
                boxes[row] = box if exact else jitter_box(box, image_size=size, rng=rng)
            else:
                centre = rng.random() < config.centre_share
                points[row, 0] = centre_point(mask)[:2] if centre else point_inside(mask, rng=rng)
        coverage = _coverage(view.masks, image_size=size)
        batch = MaskBatch(
            keys=[key],
            pixels=pad_to_square(view.image, image_size=size)[None],
            sizes=torch.tensor([view.image.shape[:2]]),
            image_index=torch.zeros(count, dtype=torch.long),
            is_box=torch.from_numpy(is_box),
            boxes=torch.from_numpy(boxes),
            points=torch.from_numpy(points),
            target=coverage[torch.from_numpy(order)],
            seeds=torch.from_numpy(rng.integers(0, 2**62, count)),
        )
        return merge([batch])


def _coverage(masks: np.ndarray, *, image_size: int) -> Tensor:
    """(K, h, w) bool -> (K, S/4, S/4) float32: the share of each 4 x 4 cell that is mask."""
    frame = torch.zeros(len(masks), image_size, image_size)
    frame[:, : masks.shape[1], : masks.shape[2]] = torch.from_numpy(masks)
    return torch.nn.functional.avg_pool2d(frame[:, None], MASK_STRIDE)[:, 0]


class StepSampler(Sampler[list[Position]]):
    """Yields this rank's positions of each global step endlessly, from a global step on.

    Rank r of a global batch of `world_size` x b takes rows [r b, (r + 1) b), so the number of ranks does not change what
    a step sees.
    """

    def __init__(self, *, photos: int, batch_size: int, rank: int, world_size: int, start_step: int) -> None:
        self.batch_size = batch_size
        self.rank = rank
        self.global_batch = batch_size * world_size
        self.steps_per_epoch = photos // self.global_batch
        self.start_step = start_step
        if not self.steps_per_epoch:
            raise InputError(f"{photos} photos are fewer than one global batch of {self.global_batch}; lower global_batch")

    def __iter__(self) -> Iterator[list[Position]]:
        step = self.start_step
        while True:
            epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
            first = step_in_epoch * self.global_batch + self.rank * self.batch_size
            yield [(epoch, first + row) for row in range(self.batch_size)]
            step += 1


def mask_batches(dataset: PromptedPhotos, *, sampler: StepSampler, num_workers: int) -> Generator[MaskBatch, None, None]:
    """Endless batches of this rank, made by `num_workers` processes (0: by this one), which end when it is closed."""
    if num_workers:
        resource_tracker.ensure_running()  # which would let signals in again where a run keeps them from its workers
    yield from DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=merge,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if num_workers else None,
    )
