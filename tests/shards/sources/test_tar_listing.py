"""What is where in tars: listed once, kept in files, the same whoever lists and however often."""

import json
import os

import pytest

import shards
from encoders.errors import InputError
from shards.sources import tar_index
from shards.sources.tar_index import Listing
from shards.sources.tar_items import endings_of, key_of_member, keys_of, keys_of_members
from shards.sources.tars import TarSource
from tests.shards.helpers.photos import cut_end_mark, jpeg, make_photo, pair, write_tar


@pytest.fixture
def scans(monkeypatch):
    """Names of the tars whose headers were gone through."""
    seen = []
    scan = tar_index.scan_tar
    monkeypatch.setattr(tar_index, "scan_tar", lambda tar: seen.append(tar.name) or scan(tar))
    return seen


@pytest.fixture
def tars(tmp_path):
    return [write_tar(tmp_path / f"sa_{n:06d}.tar", [*pair(2 * n), *pair(2 * n + 1)]) for n in range(4)]


def facts(source):
    return list(source.items()), source.identity()


def test_a_second_listing_goes_through_no_tar(tmp_path, tars, scans):
    plain = facts(TarSource(tars))
    scans.clear()
    assert facts(TarSource(tars, listing=Listing(folder=tmp_path / "out" / "index"))) == plain
    assert len(scans) == 4
    assert facts(TarSource(tars, listing=Listing(folder=tmp_path / "out" / "index"))) == plain
    assert len(scans) == 4


def test_processes_that_list_together_begin_at_different_tars(tmp_path, tars, scans):
    for rank in range(2):
        TarSource(tars, listing=Listing(folder=tmp_path / f"index{rank}", rank=rank, world_size=2))
    assert scans == [f"sa_{n:06d}.tar" for n in (0, 1, 2, 3, 2, 3, 0, 1)]


def test_several_processes_list_the_same_and_say_how_far_they_are(tmp_path, tars):
    seen = []
    listing = Listing(folder=tmp_path / "index", processes=2, progress=lambda done, total: seen.append((done, total)))
    assert facts(TarSource(tars, listing=listing)) == facts(TarSource(tars))
    assert seen == [(n, 4) for n in (1, 2, 3, 4)] and len(list((tmp_path / "index").iterdir())) == 4


def test_a_tar_that_was_changed_is_gone_through_again(tmp_path, tars, scans):
    TarSource(tars, listing=Listing(folder=tmp_path / "index"))
    write_tar(tars[1], pair(9))
    source = TarSource(tars, listing=Listing(folder=tmp_path / "index"))
    assert scans[4:] == ["sa_000001.tar"]
    assert [item.key for item in source.items()] == ["sa_0", "sa_1", "sa_9", "sa_4", "sa_5", "sa_6", "sa_7"]
    os.utime(tars[2], ns=(5, 5))
    TarSource(tars, listing=Listing(folder=tmp_path / "index"))
    assert scans[5:] == ["sa_000002.tar"]


@pytest.mark.parametrize("damage", ["torn", "another format", "other fields", "empty", "a list"])
def test_a_damaged_index_is_made_again(tmp_path, tars, scans, damage):
    whole = facts(TarSource(tars, listing=Listing(folder=tmp_path / "index")))
    kept = next(path for path in (tmp_path / "index").iterdir() if path.name.startswith("sa_000002"))
    content = json.loads(kept.read_text())
    kept.write_text(
        {
            "torn": kept.read_text()[:100],
            "another format": json.dumps(content | {"format": 0}),
            "other fields": json.dumps(content | {"spans": content["spans"][:-1]}),
            "empty": "",
            "a list": "[]",
        }[damage]
    )
    assert facts(TarSource(tars, listing=Listing(folder=tmp_path / "index"))) == whole
    assert scans[4:] == ["sa_000002.tar"]


def test_items_come_one_at_a_time_by_number_in_slices_and_in_order(tars, tmp_path):
    cut = write_tar(tmp_path / "sa_000009.tar", [*pair(1), *pair(10)])
    cut_end_mark(cut)
    items = TarSource([*tars, cut]).items()
    assert len(items) == 11 and list(items) == [items[n] for n in range(11)] == items[0:11]
    assert items[7:3:-2] == [items[7], items[5]]
    assert items[8].problem.startswith("duplicate key 'sa_1', first seen in sa_000000.tar/./sa_1")
    assert "no end mark" in items[10].problem and items[10].where == "sa_000009.tar"
    with pytest.raises(IndexError):
        items[11]


ODD = [["_a", "b"], ["a_"], ["a b"], [""], ["a/"], ["a\nb"], ["k" * 81], []]


@pytest.mark.parametrize("names", [["./sa_1", "a/b/sa-2"], *ODD], ids=repr)
def test_keys_made_all_at_once_are_those_made_one_by_one(names):
    assert keys_of_members(names) == [key_of_member(name) for name in names]


def test_keys_and_slices_over_tars_are_those_of_the_items(tars, tmp_path):
    odd = [*pair(20), ("p\u00e9rou.jpg", b"1"), ("p\u00e9rou.json", b"{}"), ("x.json", b"{}")]
    odd = write_tar(tmp_path / "sa_000001b.tar", odd)
    cut = write_tar(tmp_path / "sa_000002b.tar", pair(21))
    cut_end_mark(cut)
    items = TarSource([*tars, odd, cut]).items()
    each = list(items)
    assert list(keys_of(items)) == [item.key for item in each] and endings_of(items) == [10]
    assert endings_of(each) == [10] and list(keys_of(each)) == list(keys_of(items))
    for start in range(-1, 14):
        for stop in range(-1, 14):
            assert items[start:stop] == each[start:stop]
    assert [item.problem for item in each if item.problem is not None][0] == "a json without its photo"


def test_all_tars_that_cannot_be_read_are_named_together(tmp_path, tars):
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    os.mkfifo(tmp_path / "b.tar")
    with pytest.raises(InputError, match=r"(?s)a\.tar is no readable tar.*b\.tar is a pipe.*c\.tar cannot be opened"):
        TarSource([*tars, tmp_path / "a.tar", tmp_path / "b.tar", tmp_path / "c.tar"])


def test_without_masks_json_is_neither_needed_nor_read(tmp_path):
    members = [*pair(1), ("sa_2.jpg", jpeg(make_photo(2))), ("sa_2.json", b"broken"), ("sa_3.jpg", jpeg(make_photo(3)))]
    path = write_tar(tmp_path / "sa.tar", [*members, ("sa_4.json", b"{}")])
    source = shards.open_source(path, masks=False)
    assert [item.key for item in source.items()] == ["sa_1", "sa_2", "sa_3"]
    assert all(source.photo(item).annotations == [] for item in source.items())
    assert source.identity() != shards.open_source(path).identity() and source.name == "sa1b:sa.tar:no masks"


def test_a_name_that_is_no_utf8_and_one_with_control_characters_are_read_and_printable(tmp_path):
    names = ["b\udcff\udcfe.jpg", "c\x1b[31m\n.jpg", "pérou.jpg"]
    source = shards.open_source(write_tar(tmp_path / "a.tar", [(name, jpeg(make_photo(1))) for name in names]))
    assert [item.where for item in source.items()] == ["a.tar/b\\udcff\\udcfe", "a.tar/c\\x1b[31m\\n", "a.tar/pérou"]
    for item in source.items():
        assert source.photo(item).meta["file_name"] == item.where
        assert item.where.isprintable()




def test_a_kept_index_is_read_once_a_listing(tmp_path, tars, monkeypatch):
    TarSource(tars, listing=Listing(folder=tmp_path / "index"))
    seen = []
    read = tar_index.kept_index
    monkeypatch.setattr(tar_index, "kept_index", lambda tar, *args, **more: seen.append(tar.name) or read(tar, *args, **more))
    TarSource(tars, listing=Listing(folder=tmp_path / "index"))
    assert seen == [tar.name for tar in tars]
