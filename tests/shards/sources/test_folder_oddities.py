"""Folders as they come: links, pipes, files that vanish or cannot be read."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError
from shards.cache.storage import FolderStore
from shards.sources.tar_index import scan_tar
from tests.shards.helpers.photos import jpeg, make_photo, pair, write_tar
from tests.shards.hostile.case import as_nobody


def test_whatever_is_named_like_a_photo_is_listed_and_what_is_no_file_says_so(photo_folder):
    folder = photo_folder(2)
    (folder / "to_photo.jpg").symlink_to("p000.jpg")
    (folder / "nowhere.jpg").symlink_to("absent.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "up.jpg").symlink_to(".")
    (folder / "down").mkdir()
    (folder / "down" / "around").symlink_to("..")
    (folder / "down.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "terminal.jpg").symlink_to("/dev/null")
    (folder / "empty.jpg").write_bytes(b"")
    source = shards.open_source(folder)
    outcome = {item.where: item.problem for item in source.items()}
    assert outcome == {
        "p000.jpg": None,
        "p001.jpg": None,
        "to_photo.jpg": None,
        "empty.jpg": None,  # listing opens nothing
        "nowhere.jpg": "a link that leads nowhere",
        "circle.jpg": "a link that leads in a circle",
        "pipe.jpg": "a pipe, not a file",
        "terminal.jpg": "a device or socket, not a file",
    }
    assert source.photo(source.items()[-1]).image.shape == (60, 90, 3)
    with pytest.raises(InputError, match="pipe.jpg: a pipe"):
        source.photo(next(item for item in source.items() if item.where == "pipe.jpg"))


def test_a_photo_that_vanished_or_became_a_pipe_after_the_listing_is_named(photo_folder):
    folder = photo_folder(3)
    source = shards.open_source(folder)
    (folder / "p000.jpg").unlink()
    (folder / "p001.jpg").unlink()
    os.mkfifo(folder / "p001.jpg")
    with pytest.raises(InputError, match=r"^p000\.jpg does not exist"):
        source.photo(source.items()[0])
    with pytest.raises(InputError, match=r"^p001\.jpg is a pipe"):
        source.photo(source.items()[1])
    assert source.photo(source.items()[2]).key == "p002"


def test_a_tar_that_vanished_after_the_listing_is_named(tmp_path):
    path = write_tar(tmp_path / "sa.tar", pair(1))
    source = shards.open_source(path)
    path.unlink()
    with pytest.raises(InputError, match=r"^sa\.tar/\./sa_1: cannot be read \(No such file"):
        source.photo(source.items()[0])


def test_names_that_are_no_utf8_are_read_and_printable(photo_folder):
    folder = photo_folder(1)
    with open(os.fsencode(folder) + b"/\xff\n.jpg", "wb") as file:
        file.write(jpeg(make_photo(1)))
    source = shards.open_source(folder)
    assert [item.where for item in source.items()] == ["p000.jpg", "\\udcff\\n.jpg"]
    assert source.photo(source.items()[1]).meta["file_name"] == "\\udcff\\n.jpg"
    assert len(source.identity()) == 64


def test_what_may_not_be_read_is_named():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for photo in ("a.jpg", "b.jpg"):
            (folder / photo).write_bytes(jpeg(make_photo(1)))
        (folder / "a.jpg").chmod(0)
        (folder / "closed").mkdir(mode=0)
        with as_nobody(), pytest.raises(InputError, match=r"closed cannot be listed \(Permission denied\)"):
            shards.open_source(folder)
        with as_nobody(), pytest.raises(InputError, match=r"photos cannot be opened \(Permission denied\)"):
            shards.open_source(folder / "closed" / "photos")
        (folder / "closed").rmdir()
        with as_nobody():
            source = shards.open_source(folder)
            with pytest.raises(InputError, match=r"^a\.jpg cannot be opened \(Permission denied\)"):
                source.photo(source.items()[0])
            assert source.photo(source.items()[1]).key == "b"


def denied(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_what_may_not_be_read_needs_other_permissions_and_no_new_cache(cache, tmp_path, monkeypatch):
    manifest = shards.Manifest.read(cache)
    (tmp_path / "a.tar").touch()
    with monkeypatch.context() as patch:
        patch.setattr("os.open", denied)
        patch.setattr("pathlib.Path.open", denied)
        for read in (
            lambda: FolderStore(cache).open(manifest.entries[0]),
            lambda: shards.CacheIdentity.read(cache),
            lambda: scan_tar(tmp_path / "a.tar"),
        ):
            with pytest.raises(InputError, match=r"cannot be (opened|read) .*Permission denied\)+; change its permissions$"):
                read()
    monkeypatch.setattr("os.path.lexists", lambda _: False)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match=r"cannot be looked into \(Permission denied\); change its permissions"):
        shards.Manifest.read(cache)
