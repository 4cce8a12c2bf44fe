import json

import numpy as np
import pytest
from PIL import Image

from encoders import InputError
from encoders.errors import InputWarning
from encoders.samples.coco import CocoDataset
from encoders.samples.rle import encode_mask

SQUARE = np.zeros((20, 30), bool)
SQUARE[4:9, 12:22] = True  # 5 rows x 10 columns


@pytest.fixture
def content():
    """Photo 9 has a polygon and a crowd, photo 3 nothing; the file lists 9 first."""
    return {
        "images": [
            {"id": 9, "file_name": "b.png", "width": 30, "height": 20, "license": 4},
            {"id": 3, "coco_url": "http://images.cocodataset.org/val2017/a.png", "width": 10, "height": 20},
        ],
        "annotations": [
            {"id": 77, "image_id": 9, "category_id": 18, "iscrowd": 0, "bbox": [12, 4, 10, 5], "area": 48.5,
             "segmentation": [[12, 4, 22, 4, 22, 9, 12, 9]]},
            {"id": 78, "image_id": 9, "category_id": 1, "iscrowd": 1, "bbox": [12, 4, 10, 5], "area": 50,
             "segmentation": encode_mask(SQUARE)},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path, content):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 20), (1, 2, 3)).save(tmp_path / "images" / "b.png")
    Image.new("RGB", (10, 20)).save(tmp_path / "images" / "a.png")
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


def test_photos_come_in_order_of_their_ids(folder):
    data = CocoDataset(folder / "instances.json")
    assert len(data) == 2
    assert [sample.key for sample in data] == ["a", "b"]
    assert data.categories == {18: "dog", 1: "person"}


def test_boxes_become_corners_and_masks_pixels(folder):
    sample = CocoDataset(folder / "instances.json")[1]
    assert sample.boxes.tolist() == [[12, 4, 22, 9]] * 2
    assert all(np.array_equal(mask, SQUARE) for mask in sample.masks)
    assert sample.areas.tolist() == [48.5, 50]  # as stated, not as counted
    assert sample.category_ids.tolist() == [18, 1]
    assert sample.annotation_ids.tolist() == [77, 78]
    assert sample.crowd.tolist() == [False, True]
    assert sample.meta == {"image_id": 9, "file_name": "b.png", "license": 4}


def test_a_photo_without_objects_and_with_only_a_url(folder):
    sample = CocoDataset(folder / "instances.json")[0]
    assert sample.shape == (20, 10)
    assert sample.masks == []
    assert sample.meta["file_name"] == "a.png"


def test_photos_may_lie_elsewhere(folder, tmp_path):
    (folder / "images").rename(tmp_path / "photos")
    assert len(CocoDataset(folder / "instances.json", images=tmp_path / "photos")[1].masks) == 2


def test_an_annotation_of_another_photo_size_is_refused(folder):
    Image.new("RGB", (20, 30)).save(folder / "images" / "b.png")
    turned = r"b\.png is 30 high and 20 wide, the annotations say 20 and 30; a camera's turn .* annotated without it"
    with pytest.raises(InputError, match=turned):
        CocoDataset(folder / "instances.json")[1]
    Image.new("RGB", (15, 10)).save(folder / "images" / "b.png")
    with pytest.raises(InputError, match=r"b\.png is 10 high and 15 wide, the annotations say 20 and 30; give the photos"):
        CocoDataset(folder / "instances.json")[1]


def test_annotations_of_images_that_are_not_listed_are_told(folder):
    content = json.loads((folder / "instances.json").read_text())
    content["annotations"] += [content["annotations"][0] | {"image_id": id_} for id_ in (5, 5, 6)]
    (folder / "more.json").write_text(json.dumps(content))
    with pytest.warns(InputWarning, match=r"more\.json: left out 3 annotations, of 2 images not in its list"):
        assert len(CocoDataset(folder / "more.json")[1].masks) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "not valid json"), ("[]", "no list of 'images'"), ("{}", "images"), ('{"images": []}', "empty list")],
)
def test_other_files_are_refused(tmp_path, text, reason):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=reason):
        CocoDataset(tmp_path / "x.json")


def test_a_missing_file_and_a_missing_photo_are_named(folder):
    with pytest.raises(InputError, match="absent.json does not exist"):
        CocoDataset(folder / "absent.json")
    (folder / "images" / "a.png").unlink()
    with pytest.raises(InputError, match="a.png does not exist"):
        CocoDataset(folder / "instances.json")[0]


@pytest.mark.parametrize("field", ["bbox", "area"])
@pytest.mark.parametrize("null", [True, False])
def test_a_box_or_area_that_is_not_stated_is_the_masks(folder, content, field, null):
    if null:
        content["annotations"][0][field] = None
    else:
        del content["annotations"][0][field]
    (folder / "instances.json").write_text(json.dumps(content))
    sample = CocoDataset(folder / "instances.json")[1]
    assert sample.boxes[0].tolist() == [12, 4, 22, 9]  # xyxy of 5 rows x 10 columns at (12, 4)
    assert sample.areas[0] == (50 if field == "area" else 48.5)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("bbox", [1, 2, 3], "5 finite numbers"),
        ("bbox", [1, 2, 3, float("nan")], "5 finite numbers"),
        ("area", "large", "could not convert"),
        ("id", 2**70, "64 bits"),
        ("id", 1.5, "64 bits"),
        ("category_id", [1], "TypeError"),
        ("segmentation", {"size": [30, 20], "counts": "0"}, "of an image of"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(folder, content, field, value, words):
    content["annotations"][0][field] = value
    (folder / "instances.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"b\.png: annotation .*{words}"):
        CocoDataset(folder / "instances.json")[1]


def test_an_image_id_that_comes_twice_is_refused(folder, content):
    content["images"].append({"id": 9, "file_name": "c.png"})
    (folder / "instances.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="lists image id 9 twice"):
        CocoDataset(folder / "instances.json")


def test_a_json_nested_too_deep_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="not valid json"):
        CocoDataset(tmp_path / "x.json")


@pytest.mark.parametrize("field", ["id", "segmentation"])
def test_an_annotation_that_is_no_instance_is_named(folder, content, field):
    """COCO's captions and keypoints have the same layout, but no masks."""
    del content["annotations"][1][field]
    (folder / "instances.json").write_text(json.dumps(content))
    name = r"\(no id\)" if field == "id" else "78"
    with pytest.raises(InputError, match=rf"b\.png: annotation {name} has no {field}; expected instances"):
        CocoDataset(folder / "instances.json")[1]


@pytest.mark.parametrize(("kind", "field"), [("images", "id"), ("images", "coco_url"), ("annotations", "image_id")])
def test_a_record_that_cannot_be_placed_is_refused(folder, content, kind, field):
    del content[kind][-1][field]
    (folder / "instances.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"instances.json is not in COCO format .a record without '{field}'"):
        CocoDataset(folder / "instances.json")


def test_a_list_of_names_is_no_coco_file(folder):
    (folder / "instances.json").write_text(json.dumps({"images": ["a.png", "b.png"]}))
    with pytest.raises(InputError, match="not in COCO format"):
        CocoDataset(folder / "instances.json")


@pytest.fixture
def lvis(tmp_path):
    """An LVIS file: photos of two of COCO's folders by url alone, one that is not there, and one with a name of 2014."""
    url = "http://images.cocodataset.org"
    instance = {"bbox": [12, 4, 10, 5], "area": 50, "category_id": 3, "segmentation": [[12, 4, 22, 4, 22, 9, 12, 9]]}
    content = {
        "images": [
            {"id": 1, "coco_url": f"{url}/val2017/01.png", "width": 30, "height": 20},
            {"id": 2, "coco_url": f"{url}/train2017/02.png", "width": 30, "height": 20},
            {"id": 3, "coco_url": f"{url}/val2017/03.png", "file_name": "COCO_val2014_03.png", "width": 30, "height": 20},
            {"id": 4, "coco_url": f"{url}/val2017/04.png", "width": 30, "height": 20},
        ],
        "annotations": [instance | {"id": 10, "image_id": 2}, instance | {"id": 11, "image_id": 3}],
        "categories": [{"id": 3, "name": "acorn", "frequency": "r"}],
    }
    for place in ("val2017/01.png", "train2017/02.png", "03.png"):
        path = tmp_path / "coco" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (int(path.stem), 0, 0)).save(path)
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    return tmp_path


def test_lvis_photos_are_found_in_cocos_folders_and_have_no_crowds(lvis):
    data = CocoDataset(lvis / "lvis.json", images=lvis / "coco")
    assert [int(data[index].image[0, 0, 0]) for index in range(3)] == [1, 2, 3]
    assert [data[index].key for index in range(3)] == ["01", "02", "COCO_val2014_03"]
    assert data[1].crowd.tolist() == [False]
    assert data[2].annotation_ids.tolist() == [11]
    assert data.categories == {3: "acorn"}


def test_photos_that_are_absent_are_left_out_only_where_that_is_chosen(lvis):
    with pytest.raises(InputError, match=r"04\.png"):
        CocoDataset(lvis / "lvis.json", images=lvis / "coco")[3]
    data = CocoDataset(lvis / "lvis.json", images=lvis / "coco", present_only=True)
    assert (len(data), data.absent) == (3, 1)
    with pytest.raises(InputError, match="has none of 4 photos"):
        CocoDataset(lvis / "lvis.json", images=lvis / "nowhere", present_only=True)
