"""Folders, SA-1B tars and COCO json as sources of photos."""

import json
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shards
from encoders.errors import InputError
from shards.sources.base import KEY_LENGTH, safe_key, unique_keys
from tests.shards.helpers.photos import jpeg, make_masks, make_photo, pair, sa1b_json, write_tar


def test_a_folder_is_read_recursively_in_order_of_name_with_safe_unique_keys(tmp_path):
    for name in ("b/x.y.jpg", "b_x_y.jpg", "a.png", "a.jpg", ".hidden.jpg", "notes.txt", "Ä ö/c.JPG"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(make_photo(1)))
    items = shards.open_source(tmp_path).items()
    assert [item.where for item in items] == ["a.jpg", "a.png", "b/x.y.jpg", "b_x_y.jpg", "Ä ö/c.JPG"]
    assert items[0].key == "a" and items[1].key.startswith("a-") and items[2].key == "b_x_y"
    assert len({item.key for item in items}) == 5
    sample = shards.open_source(tmp_path).read(items[3])
    assert sample.key == items[3].key and sample.shape == (96, 64) and len(sample.masks) == 0


@given(st.lists(st.text(min_size=1, max_size=150), unique=True, max_size=20))
def test_keys_of_any_names_are_safe_short_and_distinct(names):
    keys = unique_keys(names)
    assert len(set(keys)) == len(keys)
    assert all(0 < len(key) <= KEY_LENGTH + 9 and set(key) <= set(safe_alphabet()) for key in keys)


def safe_alphabet():
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


def test_a_long_name_keeps_its_beginning_and_gets_a_hash():
    assert safe_key("x" * 200) != safe_key("x" * 201)
    assert len(safe_key("x" * 200)) == KEY_LENGTH


def test_sa1b_pairs_are_read_in_place_in_any_order_of_members(tmp_path):
    (jpg1, json1), (jpg5, json5) = pair(1), pair(5)
    write_tar(tmp_path / "sa_000001.tar", [json5, jpg1, jpg5, ("./._sa_1.jpg", b"finder"), json1])
    before = sorted(tmp_path.rglob("*"))
    source = shards.open_source(tmp_path / "sa_000001.tar")
    assert [item.key for item in source.items()] == ["sa_5", "sa_1"]
    sample = source.read(source.items()[1])
    assert sample.shape == (96, 64)
    assert all((got == want).all() for got, want in zip(sample.masks, make_masks(1), strict=True))
    assert sample.boxes[1].tolist() == [30, 40, 36, 42]  # SA-1B's boxes are one pixel short
    assert sample.meta["image_id"] == 1
    assert source.photo(source.items()[1]).annotations[0]["point_coords"] == [[7.5, 12.0]]
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


def test_tars_come_as_folder_glob_or_list_and_are_ordered_by_name(tmp_path):
    write_tar(tmp_path / "sa_000002.tar", pair(2))
    write_tar(tmp_path / "sa_000001.tar", pair(9))
    specs = [tmp_path, f"{tmp_path}/sa_*.tar", [tmp_path / "sa_000002.tar", tmp_path / "sa_000001.tar"]]
    for spec in specs:
        source = shards.open_source(spec)
        assert [item.key for item in source.items()] == ["sa_9", "sa_2"]
        assert source.identity() == shards.open_source(specs[0]).identity()


def test_a_tar_without_json_is_a_tar_of_photos(tmp_path):
    source = shards.open_source(write_tar(tmp_path / "a.tar", [pair(1)[0], pair(2)[0]]))
    assert [len(source.read(item).masks) for item in source.items()] == [0, 0]


def link(name):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def test_what_is_wrong_in_a_tar_is_named_and_the_rest_is_read(tmp_path):
    huge = sa1b_json(2).replace(b'"size": [50, 120]', b'"size": [50, 121]')
    members = [
        *pair(1),
        ("sa_2.jpg", jpeg(make_photo(2))), ("sa_2.json", huge),
        ("sa_3.jpg", jpeg(make_photo(3))[:500]), ("sa_3.json", sa1b_json(3)),
        ("sa_4.jpg", jpeg(make_photo(4))), ("sa_4.json", b'{"image": '),
        ("sa_5.json", sa1b_json(5)),
        ("sa_6.jpg", jpeg(make_photo(6))),
        ("../sa_7.jpg", jpeg(make_photo(7))), ("../sa_7.json", sa1b_json(7)),
        ("sa_8.jpg", b""), ("sa_8.json", sa1b_json(8)),
        ("sub/sa_1.jpg", jpeg(make_photo(1))), ("sub/sa_1.json", sa1b_json(1)),
        ("sa_10.jpg", jpeg(make_photo(10))), ("sa_10.json", b"[" * 100_000),
        *pair(11),
    ]  # fmt: skip
    path = write_tar(tmp_path / "sa.tar", members)
    with tarfile.open(path, "a") as tar:
        tar.addfile(link("sa_12.jpg"))
    source = shards.open_source(path)
    outcome = {}
    for item in source.items():
        try:
            outcome[item.where] = source.read(item).key
        except InputError as error:
            assert "sa.tar" in str(error)
            outcome[item.where] = str(error)
    assert outcome["sa.tar/./sa_1"] == "sa_1" and outcome["sa.tar/./sa_11"] == "sa_11"
    expected = {
        "sa_2": "(50, 121)", "sa_3": "not a readable image", "sa_4": "json cannot be read", "sa_5": "without its photo",
        "sa_6": "without its json", "../sa_7": "leads out", "sa_8": "not a readable image", "sub/sa_1": "duplicate key",
        "sa_10": "json cannot be read", "sa_12": "link",
    }  # fmt: skip
    for name, words in expected.items():
        assert words in outcome[f"sa.tar/{name}"], name
    assert len(outcome) == len(expected) + 2


@pytest.mark.parametrize(
    "place", ["before the end mark", "in the last json", "in the last header", "in the second photo"]
)
def test_a_tar_that_was_cut_off_says_so_and_gives_what_is_whole(tmp_path, place):
    path = write_tar(tmp_path / "sa.tar", [m for n in range(1, 4) for m in pair(n)])
    with tarfile.open(path) as tar:
        last, second = tar.getmember("./sa_3.json"), tar.getmember("./sa_2.jpg")
    end = {
        "before the end mark": -(-(last.offset_data + last.size) // 512) * 512,
        "in the last json": last.offset_data + 100,
        "in the last header": last.offset + 100,
        "in the second photo": second.offset_data + 1000,
    }[place]
    path.write_bytes(path.read_bytes()[:end])
    source = shards.open_source(path)
    good = [item for item in source.items() if item.problem is None]
    assert good and len(good) < len(source.items())
    assert all(source.read(item).key for item in good)
    assert any("cut off" in item.problem or "end" in item.problem for item in source.items() if item.problem)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = write_tar(tmp_path / "sa.tar", [m for n in range(1, 4) for m in pair(n)])
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        header = tar.getmember("./sa_2.json").offset
    data[header + 150] ^= 0xFF
    path.write_bytes(data)
    problems = [item.problem for item in shards.open_source(path).items() if item.problem]
    assert any("damaged header" in problem for problem in problems)


def test_no_random_damage_of_a_tar_gets_past_the_checks(tmp_path):
    whole = write_tar(tmp_path / "sa.tar", [m for n in range(1, 4) for m in pair(n)]).read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"refused": 0, "bad": 0, "read": 0}
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 40)):
            data[place] = rng.integers(0, 256)
        (tmp_path / "sa.tar").write_bytes(data)
        try:
            source = shards.open_source(tmp_path / "sa.tar")
        except InputError:
            outcomes["refused"] += 1
            continue
        for item in source.items():
            try:
                sample = source.read(item)
            except InputError:
                outcomes["bad"] += 1
            else:
                outcomes["read"] += 1
                assert all(mask.shape == sample.shape for mask in sample.masks)
    assert min(outcomes["bad"], outcomes["read"]) > 20


def test_coco_polygons_and_crowds_become_rle_of_the_photo(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0001.x.jpg").write_bytes(jpeg(make_photo(0)))  # 60 x 90
    crowd = np.zeros((60, 90), bool)
    crowd[50:, 80:] = True
    counts = [60 * 80 + 50, 10] + [50, 10] * 9
    content = {
        "images": [{"id": 7, "file_name": "0001.x.jpg", "height": 60, "width": 90, "license": 4}],
        "annotations": [
            {"id": 1, "image_id": 7, "bbox": [10, 20, 30, 10], "area": 300, "category_id": 3, "iscrowd": 0,
             "segmentation": [[10, 20, 40, 20, 40, 30, 10, 30]]},
            {"id": 2, "image_id": 7, "bbox": [80, 50, 10, 10], "area": 100, "category_id": 5, "iscrowd": 1,
             "segmentation": {"size": [60, 90], "counts": counts}},
        ],
    }  # fmt: skip
    (tmp_path / "instances.json").write_text(json.dumps(content))
    source = shards.open_source(tmp_path / "instances.json")
    sample = source.read(source.items()[0])
    assert sample.key == "0001_x" and sample.meta["license"] == 4
    assert sample.masks[0][20:30, 10:40].all() and sample.masks[0].sum() == 300
    assert (sample.masks[1] == crowd).all()
    assert sample.crowd.tolist() == [False, True] and sample.category_ids.tolist() == [3, 5]
    same = shards.open_source(tmp_path / "images", annotations=tmp_path / "instances.json")
    assert same.items()[0].key == "0001_x"


def test_a_coco_photo_of_another_size_or_outside_its_folder_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(jpeg(make_photo(0)))
    images = [{"id": 1, "file_name": "a.jpg", "height": 90, "width": 60}, {"id": 2, "file_name": "../b.jpg"}]
    (tmp_path / "x.json").write_text(json.dumps({"images": images}))
    source = shards.open_source(tmp_path / "x.json")
    with pytest.raises(InputError, match=r"a\.jpg: the photo is \(60, 90\), its annotations are for \(90, 60\)"):
        source.read(source.items()[0])
    with pytest.raises(InputError, match="leads out"):
        source.read(source.items()[1])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "holds no photo"),
        ("missing", "does not exist"),
        ("no_*.tar", "matches no file"),
        ("one.jpg", "single"),
    ],
)
def test_a_source_that_holds_nothing_says_what_was_looked_for(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=words):
        shards.open_source(tmp_path / name)


def test_no_tar_an_empty_tar_and_a_mixed_folder_are_refused(tmp_path):
    (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(InputError, match="no readable tar"):
        shards.open_source(tmp_path / "bad.tar")
    write_tar(tmp_path / "none.tar", [("readme.txt", b"hello")])
    with pytest.raises(InputError, match="no photo found"):
        shards.open_source(tmp_path / "none.tar")
    (tmp_path / "p.jpg").write_bytes(jpeg(make_photo(0)))
    with pytest.raises(InputError, match="2 tars and 1 photos"):
        shards.open_source(tmp_path)


def test_the_identity_changes_with_a_photo_but_not_with_the_place(tmp_path, photo_folder):
    folder = photo_folder(3)
    before = shards.open_source(folder).identity()
    (tmp_path / "elsewhere").mkdir()
    moved = folder.rename(tmp_path / "elsewhere" / "photos")
    assert shards.open_source(moved).identity() == before
    (moved / "p001.jpg").write_bytes(jpeg(make_photo(2)))
    assert shards.open_source(moved).identity() != before


def test_real_sa1b_annotations_are_read(tmp_path, shared_data):
    record = (shared_data / "sa1b_fixture" / "sa_226381_excerpt.json").read_bytes()
    photo = np.full((1500, 2000, 3), 90, np.uint8)  # the fixture comes without its photo
    members = [("sa_226381.jpg", jpeg(photo)), ("sa_226381.json", record)]
    source = shards.open_source(write_tar(tmp_path / "a.tar", members))
    sample = source.read(source.items()[0])
    assert [int(mask.sum()) for mask in sample.masks] == [914, 1942]
    assert sample.areas.tolist() == [914, 1942]
