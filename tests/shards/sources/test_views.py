"""Views of photos: exact crops, stable, each with its own key."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from shards.sources.base import Item, Photo
from shards.sources.opening import open_source
from shards.sources.views import ViewSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, shape in (("wide", (40, 90)), ("tall", (100, 30))):
        pixels = np.random.default_rng(len(name)).integers(0, 255, (*shape, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def views(folder: Path, *, seed: int = 0) -> tuple[ViewSource, list[tuple[Item, Photo]]]:
    source = ViewSource(open_source(str(folder)), views=5, seed=seed)
    return source, [(item, source.photo(item)) for item in source.items()]


def test_every_photo_comes_whole_first_then_as_crops_of_itself(folder: Path):
    _, found = views(folder)
    assert [item.key for item, _ in found] == [f"{name}-v{k}" for name in ("tall", "wide") for k in range(5)]
    whole = found[0][1].image
    for _, photo in found[1:5]:
        w = photo.meta["view"]
        expected = whole[w["top"] : w["top"] + w["height"], w["left"] : w["left"] + w["width"]]
        assert np.array_equal(photo.image, expected[:, ::-1] if w["mirror"] else expected)
        assert photo.image.shape[0] >= 30 and photo.image.shape[1] >= 9


def test_views_are_the_same_every_time_and_others_under_another_seed(folder: Path):
    (first, a), (_, b), (other, c) = views(folder), views(folder), views(folder, seed=1)
    assert all(np.array_equal(x.image, y.image) for (_, x), (_, y) in zip(a, b, strict=True))
    assert any(x.image.shape != y.image.shape for (_, x), (_, y) in zip(a, c, strict=True))
    assert first.identity() != other.identity()  # a cache of other views is another cache


def test_no_view_at_all_is_refused(folder: Path):
    with pytest.raises(InputError, match="at least 1"):
        ViewSource(open_source(str(folder)), views=0)
