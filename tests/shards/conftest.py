"""Fixtures of the shards room."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shards.helpers import standin
from tests.shards.helpers.photos import jpeg, make_photo, pair, write_tar


@pytest.fixture
def photo_folder(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a folder of so many photos."""

    def make(count: int) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        for number in range(count):
            (folder / f"p{number:03d}.jpg").write_bytes(jpeg(make_photo(number)))
        return folder

    return make


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 23 photos in 5 shards, image size 128, int8."""
    root = tmp_path_factory.mktemp("cache")
    tar = write_tar(root / "sa_000007.tar", [member for number in range(23) for member in pair(number)])
    standin.run(tar, root / "cache")
    return root / "cache"
