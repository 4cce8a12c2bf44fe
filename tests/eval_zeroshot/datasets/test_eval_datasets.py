import json

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from eval_zeroshot import FillBox, box_iou, open_dataset
from eval_zeroshot.datasets.bsds import truth_files


@pytest.fixture
def folder(tmp_path):
    """Three 8 x 6 photos; the second has no annotations, the third a crowd."""
    root = tmp_path / "pets"
    (root / "images").mkdir(parents=True)
    images = []
    for number in (3, 1, 2):
        Image.fromarray(np.full((6, 8, 3), number, np.uint8)).save(root / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 8, "height": 6})
    square = {"bbox": [2, 1, 4, 2], "segmentation": [[2, 1, 4, 1, 4, 3, 2, 3]], "area": 4, "category_id": 1}
    annotations = [
        square | {"id": 10, "image_id": 1, "iscrowd": 0},
        square | {"id": 11, "image_id": 3, "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [8, 4, 36]}},
    ]
    (root / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return root


def test_photos_come_by_id_and_are_named_by_their_folder(folder):
    dataset = open_dataset(folder)
    assert (dataset.name, len(dataset)) == ("pets", 3)
    assert [sample.key for sample in dataset] == ["1", "2", "3"]
    assert box_iou.run(FillBox(), dataset).value == 0.5


def test_a_limit_takes_the_first_and_is_part_of_the_name(folder):
    dataset = open_dataset(folder / "instances.json", limit=2)
    assert (dataset.name, len(dataset)) == ("pets[:2]", 2)
    assert [sample.key for sample in dataset] == ["1", "2"]
    assert open_dataset(folder, limit=99).name == "pets"
    with pytest.raises(InputError, match="limit 0"):
        open_dataset(folder, limit=0)


def test_a_json_with_a_name_of_its_own_gives_it_to_the_data_set(folder):
    (folder / "instances.json").rename(folder / "instances_val2017.json")
    assert open_dataset(folder).name == "instances_val2017"
    assert open_dataset(folder, name="COCO val2017").name == "COCO val2017"


def test_a_missing_data_set_comes_with_instructions(tmp_path):
    with pytest.raises(InputError, match=r"does not exist.*cocodataset\.org"):
        open_dataset(tmp_path / "instances_val2017.json")
    with pytest.raises(InputError, match="0 json files"):
        open_dataset(tmp_path)


def test_missing_photos_are_counted_before_anything_runs(folder):
    (folder / "images" / "2.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 photos .* 2\.png first"):
        open_dataset(folder)
    with pytest.raises(InputError, match=r"3 of 3 photos"):
        open_dataset(folder, images=folder)


def test_only_the_photos_present_is_a_choice_that_the_name_tells(folder):
    (folder / "images" / "2.png").unlink()
    with pytest.raises(InputError, match="use only those present \\(--present-only"):
        open_dataset(folder)
    dataset = open_dataset(folder, present_only=True)
    assert (dataset.name, len(dataset)) == ("pets (2 of 3 photos)", 2)
    assert open_dataset(folder, present_only=True, limit=1).name == "pets (2 of 3 photos)[:1]"


def test_lvis_with_the_photos_that_are_there(shared_data):
    folder = shared_data / "lvis_val_100"
    dataset = open_dataset(folder / "lvis_val_100.json", images=folder / "images", present_only=True)
    assert (dataset.name, len(dataset)) == ("lvis_val_100 (9 of 100 photos)", 9)
    truth = json.loads((folder / "lvis_val_100.json").read_text())
    shown = {sample.meta["image_id"] for sample in dataset}
    result = box_iou.run(FillBox(), dataset)
    assert result.n == sum(a["image_id"] in shown for a in truth["annotations"])
    assert result.skipped == {"crowd": 0, "empty": 0}


def test_a_split_that_a_data_set_does_not_have_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="has no split 'foo'; it has no splits, so leave it out"):
        open_dataset(folder, split="foo")
    for kind in ("images", "groundTruth"):
        (tmp_path / "flat" / kind).mkdir(parents=True)
    (tmp_path / "flat" / "groundTruth" / "1.mat").write_bytes(b"")
    with pytest.raises(InputError, match="has no split 'foo'; expected train or val or test"):
        open_dataset(tmp_path / "flat", split="foo")
    with pytest.raises(InputError, match="BSDS500 has no split 'foo'; expected train, val, test"):
        truth_files(tmp_path / "flat", split="foo")


def test_a_path_that_says_nothing_gets_one_line_for_each_data_set(tmp_path):
    with pytest.raises(InputError) as caught:
        open_dataset(tmp_path / "nothing")
    lines = str(caught.value).splitlines()
    assert len(lines) == 8 and all(line.startswith("- ") for line in lines[1:])
    with pytest.raises(InputError, match=r"^[^\n]*DAVIS 2017: [^\n]*$"):
        open_dataset(tmp_path / "my_davis")


def test_lvis_is_told_whose_photos_it_has_and_where_they_lie(tmp_path):
    url = "http://images.cocodataset.org/train2017/000000000009.jpg"
    lvis = {"id": 9, "coco_url": url, "height": 6, "width": 8, "neg_category_ids": [], "not_exhaustive_category_ids": []}
    (tmp_path / "lvis.json").write_text(json.dumps({"images": [lvis], "annotations": []}))
    (tmp_path / "photos").mkdir()
    said = r"photos lacks 1 of 1 photo of .*lvis\.json, train2017/000000000009\.jpg first; .*train2017\.zip and val2017\.zip"
    with pytest.raises(InputError, match=said) as caught:
        open_dataset(tmp_path / "lvis.json", images=tmp_path / "photos")
    assert "annotations/instances_val2017.json" not in str(caught.value)
    (tmp_path / "photos" / "train2017").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "photos" / "train2017" / "000000000009.jpg")
    assert len(open_dataset(tmp_path / "lvis.json", images=tmp_path / "photos")) == 1
