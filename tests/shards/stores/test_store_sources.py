"""Photos in an object store: the same items, and so the same cache, as from a folder."""

import fsspec
import pytest

import shards
from encoders.errors import InputError
from shards.sources.tar_index import Listing
from shards.stores.base import StoreFailure
from tests.shards.helpers import standin
from tests.shards.helpers.faulty_store import FaultyFileSystem
from tests.shards.helpers.photos import pair, write_tar
from tests.shards.stores.test_store_precompute import content


def copy(folder, url: str) -> str:
    """Copy a folder's files into a store."""
    filesystem, root = fsspec.core.url_to_fs(url)
    for path in folder.iterdir():
        filesystem.pipe_file(f"{root}/{path.name}", path.read_bytes())
    return url


@pytest.fixture
def tars(tmp_path):
    folder = tmp_path / "sa1b"
    folder.mkdir()
    write_tar(folder / "sa_000001.tar", [member for number in range(4) for member in pair(number)])
    write_tar(folder / "sa_000002.tar", [member for number in range(4, 7) for member in pair(number)])
    return folder


@pytest.mark.parametrize("what", ["", "/*.tar", "/sa_00000?.tar"])
def test_tars_in_a_store_make_the_same_cache(tars, tmp_path, what):
    url = copy(tars, "memory://bucket/sa1b")
    local, remote = shards.open_source(str(tars)), shards.open_source(url + what)
    assert remote.name == local.name and remote.identity() == local.identity() and len(remote.items()) == 7
    standin.run(tars, tmp_path / "local")
    standin.run(url + what, tmp_path / "remote")
    assert content(tmp_path / "remote") == content(tmp_path / "local")


def test_photos_in_a_store_make_the_same_cache(photo_folder, tmp_path):
    photos = photo_folder(7)
    (photos / "p003.jpg").write_bytes(b"junk")
    url = copy(photos, f"memory://bucket/{photos.name}")
    for source, out in ((photos, "local"), (url, "remote")):
        standin.run(source, tmp_path / out, max_bad_fraction=0.2)
    assert content(tmp_path / "remote") == content(tmp_path / "local")


def test_a_tar_that_has_changed_is_listed_again(tars, tmp_path):
    url = copy(tars, "memory://bucket/sa1b")
    listing = Listing(folder=tmp_path / "index")
    assert len(shards.open_source(url, listing=listing).items()) == 7
    assert len(list((tmp_path / "index").iterdir())) == 2
    write_tar(tars / "sa_000002.tar", [member for number in range(4, 9) for member in pair(number)])
    copy(tars, url)
    assert len(shards.open_source(url, listing=listing).items()) == 9


def test_reads_that_fail_for_a_while_are_tried_again(tars, monkeypatch):
    url = copy(tars, "faulty://bucket/sa1b")
    failures = iter(["fail"] * 3)
    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(lambda operation, path: next(failures, None)))
    assert len(shards.open_source(url).items()) == 7


def test_a_store_that_does_not_answer_ends_the_work_and_spoils_no_photo(tars, tmp_path, monkeypatch):
    url = copy(tars, "faulty://bucket/sa1b")
    standin.run(url, tmp_path / "cache", max_bad_fraction=1.0, samples_per_shard=3)
    source = shards.open_source(url)
    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(lambda operation, path: "fail"))
    with pytest.raises(StoreFailure, match="faulty://bucket/sa1b/sa_000001.tar cannot be read: 4 tries in a row failed"):
        shards.precompute(
            source, teacher=standin.standin_teacher(), out=tmp_path / "other", max_bad_fraction=1.0, **standin.CALL
        )
    assert not list((tmp_path / "other").glob("train-*.tar"))
    with pytest.raises(InputError, match="cannot be opened: 4 tries in a row failed"):
        shards.open_source(url)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("memory://bucket/nothing", "holds no photo"),
        ("memory://bucket/nothing/*.tar", "matches no file"),
        ("memory://bucket/*/sa.tar", "in the last part of a URL only"),
        ("memory://bucket/instances.json", "from this machine only"),
        ("https://host/photos", "can be read but not written"),
    ],
)
def test_what_is_not_there_is_said(spec, problem):
    with pytest.raises(InputError, match=problem):
        shards.open_source(spec)
