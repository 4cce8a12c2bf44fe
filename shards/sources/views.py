"""Augmented views of photos, so that a few hundred photos are enough to train on for many epochs."""

from dataclasses import asdict, replace

import numpy as np

from encoders.errors import InputError
from shards.sources import jitter
from shards.sources.base import KEY_LENGTH, Item, Photo, Source, short_hash

MIN_SIDE = 0.4  # of the photo's side, the smallest crop


class ViewSource(Source):
    """A source whose photos appear whole and as random crops, half of them mirrored.

    View 0 is the photo itself with its annotations. View k is a crop, a function of (seed, key, k) and the recipe alone. The
    teacher sees each view as a separate photo, so its embedding is exact; augmenting a cached embedding would not be.

    There are two recipes, which the source's name tells apart. Without `scale`, a crop has 40 % to 100 % of each side, and no
    annotations. With it, it is drawn as `shards.sources.jitter` describes, and has the annotations of what it shows.

    Args:
        source: where the photos come from.
        views: number of views of each photo, including the photo itself; at least 1.
        seed: a different seed gives different crops.
        scale: range of the size at which the photo's objects are shown, relative to the whole photo: from 1 on.
    """

    def __init__(self, source: Source, *, views: int, seed: int = 0, scale: jitter.Scale | None = None) -> None:
        if views < 1:
            raise InputError(f"{views} views of each photo; expected at least 1, the photo itself")
        self.source = source
        self.views = views
        self.seed = seed
        self.scale = None if scale is None else jitter.check_scale(scale)
        recipe = "" if scale is None else f"({jitter.NAME},scale={scale[0]:g}-{scale[1]:g})"
        self.name = f"{source.name}+views{views}{recipe}@seed={seed}"

    def list_items(self) -> list[Item]:
        """List all views of a photo consecutively; keys end in -v0, -v1, …"""
        return [
            Item(view_key(item.key, view), f"{item.where}#v{view}", (index, view, item.locator), item.problem)
            for index, item in enumerate(self.source.items())
            for view in range(self.views)
        ]

    def read_photo(self, item: Item, *, long_side: int | None = None) -> Photo:
        """Read the photo and crop the view from it; crops are taken from the whole image."""
        index, view, _ = item.locator
        photo = self.source.photo(self.source.items()[index], long_side=long_side if view == 0 else None)
        if view == 0:
            return replace(photo, key=item.key)
        if self.scale is not None:
            return self._jittered(photo, item, view)
        rng = np.random.default_rng((self.seed, int(short_hash(photo.key), 16), view))
        image, crop = random_crop(photo.image, rng=rng)
        return Photo(key=item.key, image=image, meta=photo.meta | {"view": crop})

    def _jittered(self, photo: Photo, item: Item, view: int) -> Photo:
        assert self.scale is not None
        window = jitter.jittered_window(photo.shape, seed=self.seed, key=photo.key, view=view, scale=self.scale)
        return Photo(
            key=item.key,
            image=window.cut(photo.image),
            annotations=jitter.visible_annotations(photo.annotations, window),
            meta=photo.meta | {"view": {"recipe": jitter.NAME, "photo": list(photo.shape), **asdict(window)}},
        )


def view_key(key: str, view: int) -> str:
    """Return the key of a view, shortened to the tar's limit if necessary."""
    suffix = f"-v{view}"
    return key[: KEY_LENGTH - len(suffix)] + suffix


def photo_key(key: str) -> str:
    """Return the key of a view's photo, as far as `view_key` preserved it."""
    return key.rpartition("-v")[0]


def random_crop(image: np.ndarray, *, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, int | bool]]:
    """Crop (H, W, 3) to 40 % to 100 % of each side, mirrored half of the time; return the crop and its position in pixels."""
    height, width = image.shape[:2]
    share = rng.uniform(MIN_SIDE, 1)
    rows, columns = (max(1, round(side * min(1, share * rng.uniform(0.8, 1.25)))) for side in (height, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    mirror = bool(rng.random() < 0.5)
    crop = image[top : top + rows, left : left + columns]
    where: dict[str, int | bool] = {"top": top, "left": left, "height": rows, "width": columns, "mirror": mirror}
    return np.ascontiguousarray(crop[:, ::-1] if mirror else crop), where
