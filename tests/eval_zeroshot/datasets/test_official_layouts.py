"""Data sets beyond COCO and BSDS500 in their official layouts: what is read, and what a missing one says."""

import json

import numpy as np
import pytest

from encoders.errors import InputError
from eval_zeroshot import open_dataset
from tests.layouts import make_davis, make_duts, make_mvtec, make_seginw, make_uvo, rectangle

SMALL, WIDE = rectangle((3, 2, 7, 12)), rectangle((15, 4, 24, 9))


def test_duts_by_either_folder(tmp_path):
    folder = make_duts(tmp_path, {"sun_b": SMALL, "ILSVRC2012_test_1": SMALL | WIDE})
    for given in (folder, tmp_path):
        dataset = open_dataset(given)
        assert (dataset.name, [sample.key for sample in dataset]) == ("DUTS-TE", ["ILSVRC2012_test_1", "sun_b"])
    both, small = dataset
    assert len(both.masks) == 1 and (both.masks[0] == (SMALL | WIDE)).all() and both.boxes.tolist() == [[3, 2, 24, 12]]
    assert small.areas.tolist() == [40]
    (folder / "DUTS-TE-Mask" / "sun_b.png").unlink()
    with pytest.raises(InputError, match=r"1 of 2 photos without a mask, sun_b\.jpg first.*saliencydetection\.net"):
        open_dataset(folder)
    with pytest.raises(InputError, match="has no DUTS-TR-Image"):
        open_dataset(folder, split="train")
    with pytest.raises(InputError, match="no split 'val'"):
        open_dataset(folder, split="val")


def test_a_duts_mask_of_another_size_is_refused(tmp_path):
    folder = make_duts(tmp_path, {"a": SMALL})
    make_duts(tmp_path / "turned", {"a": SMALL.T})
    mask = tmp_path / "turned" / "DUTS-TE" / "DUTS-TE-Mask" / "a.png"
    mask.replace(folder / "DUTS-TE-Mask" / "a.png")
    with pytest.raises(InputError, match=r"is \(30, 20\), its photo \(20, 30\)"):
        open_dataset(folder)[0]


def test_mvtec_has_a_mask_for_each_region_and_none_for_good_photos(tmp_path):
    photos = {"pill/good/000": None, "pill/scratch/000": SMALL | WIDE, "metal_nut/bent/007": WIDE}
    dataset = open_dataset(make_mvtec(tmp_path, photos))
    assert dataset.name == "MVTec AD metal_nut, pill"
    found = {sample.key: sample for sample in dataset}
    assert list(found) == ["metal_nut-bent-007", "pill-good-000", "pill-scratch-000"]
    assert len(found["pill-good-000"].masks) == 0
    assert found["pill-scratch-000"].boxes.tolist() == [[3, 2, 7, 12], [15, 4, 24, 9]]
    assert found["metal_nut-bent-007"].meta["category"] == "metal_nut"
    alone = open_dataset(tmp_path / "mvtec_anomaly_detection" / "pill")
    assert (alone.name, [sample.key for sample in alone]) == ("MVTec AD pill", ["pill-good-000", "pill-scratch-000"])
    (tmp_path / "mvtec_anomaly_detection/pill/ground_truth/scratch/000_mask.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 photos without a mask, .*scratch/000_mask\.png first.*mvtec\.com"):
        open_dataset(tmp_path / "mvtec_anomaly_detection")


def test_davis_counts_the_objects_of_the_first_frame(tmp_path):
    first = 1 * SMALL + 2 * WIDE
    later = np.where(rectangle((0, 0, 2, 2)), 3, 1 * SMALL)  # the second object is gone, a third came in, and is not followed
    void = np.where(rectangle((15, 4, 18, 9)), 255, first)
    folder = make_davis(tmp_path, {"bike": [first, later, void], "a-b": [1 * WIDE]})
    for given in (folder, tmp_path):
        dataset = open_dataset(given)
        assert dataset.name == "DAVIS 2017 val"
        assert [sample.key for sample in dataset] == ["bike-00000", "bike-00001", "bike-00002", "a-b-00000"]
    assert [sample.annotation_ids.tolist() for sample in dataset] == [[1, 2], [1, 2], [1, 2], [1]]
    assert [sample.meta["given"] for sample in dataset] == [[1, 2], [], [], [1]]
    assert [(sample.meta["frame"], sample.meta["frames"]) for sample in dataset] == [(0, 3), (1, 3), (2, 3), (0, 1)]
    assert [mask.sum() for mask in dataset[1].masks] == [40, 0] and dataset[1].boxes[1].tolist() == [0, 0, 0, 0]
    assert dataset[2].masks[1].sum() == 45 - 15  # void is background


def test_davis_says_what_is_missing(tmp_path):
    folder = make_davis(tmp_path, {"bike": [1 * SMALL, 1 * SMALL]})
    (folder / "JPEGImages" / "480p" / "bike" / "00001.jpg").rename(tmp_path / "away.jpg")
    with pytest.raises(InputError, match=r"sequence bike: 1 mask without a frame, 00001\.png first"):
        open_dataset(folder)
    (tmp_path / "away.jpg").rename(folder / "JPEGImages" / "480p" / "bike" / "00001.jpg")
    with pytest.raises(InputError, match=r"2017/test-dev\.txt does not exist; splits there: val\..*davischallenge"):
        open_dataset(folder, split="test-dev")
    (folder / "Annotations" / "480p" / "bike" / "00001.png").unlink()
    with pytest.raises(InputError, match="sequence bike: 1 of 2 frames without a mask, 00001 first"):
        open_dataset(folder)
    old = make_davis(tmp_path / "2016", {"bike": [255 * SMALL.astype(int)]})
    with pytest.raises(InputError, match="only background and 255, which is void in DAVIS 2017"):
        open_dataset(old)[0]


def test_a_json_of_videos_gives_an_object_where_it_is_first_seen(tmp_path):
    path = make_uvo(tmp_path, {"clip": {7: [SMALL, None, SMALL], 9: [None, WIDE, WIDE], 11: [None, None, None]}})
    dataset = open_dataset(path)
    assert (dataset.name, [s.key for s in dataset]) == ("UVO_video_val_dense", [f"video1-0000{n}" for n in range(3)])
    assert [sample.annotation_ids.tolist() for sample in dataset] == [[7], [7, 9], [7, 9]]
    assert [sample.meta["given"] for sample in dataset] == [[7], [9], []]
    assert dataset[1].masks[0].sum() == 0 and (dataset[2].masks[1] == WIDE).all()
    frames = tmp_path / "uvo_videos_dense_frames"
    frames.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"3 of 3 frames missing, clip/0\.png first\. UVO: get "):
        open_dataset(path)
    assert len(open_dataset(path, images=tmp_path / "elsewhere")) == 3
    content = json.loads(path.read_text())
    content["annotations"][1]["segmentations"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="annotation 9: 2 segmentations for 3 frames"):
        open_dataset(path)
    path.write_text(json.dumps({"videos": [{"id": 1}], "annotations": []}))
    with pytest.raises(InputError, match="no json of videos .*file_names.*Unidentified|unidentified"):
        open_dataset(path)


def test_seginw_is_many_data_sets_in_one(tmp_path):
    photo = "IMG_1_jpg.rf.0a.jpg"
    data, _ = make_seginw(tmp_path, {"Puppies": {photo: [SMALL, WIDE]}, "Hand": {photo: [WIDE], "b.jpg": [SMALL]}})
    dataset = open_dataset(data)
    assert dataset.name == "SegInW Hand, Puppies"
    assert [sample.key for sample in dataset] == ["Hand+IMG_1_jpg_rf_0a", "Hand+b", "Puppies+IMG_1_jpg_rf_0a"]
    assert [sample.meta["part"] for sample in dataset] == ["Hand", "Hand", "Puppies"]
    assert [len(sample.masks) for sample in dataset] == [1, 1, 2]
    assert len(open_dataset(data / "Puppies")) == 1
    other = data / "Hand" / "valid" / "_annotations_min1cat.coco.json"
    content = json.loads((data / "Hand" / "valid" / "_annotations.coco.json").read_text())
    other.write_text(json.dumps(content | {"images": content["images"][:1], "annotations": content["annotations"][:1]}))
    assert len(open_dataset(data)) == 2
    (data / "Puppies" / "valid" / photo).unlink()
    with pytest.raises(InputError, match=r"SegInW, Puppies, photos in .*: 1 of 1 photo missing, .*seginw\.zip"):
        open_dataset(data)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("DUTS-TE", "DUTS-TE-Image/*.jpg"),
        ("mvtec_anomaly_detection", "CATEGORY/ground_truth/DEFECT/*_mask.png"),
        ("DAVIS", "Annotations/480p/SEQUENCE/00000.png"),
        ("UVO_video_val_dense.json", "`videos` with `file_names`"),
        ("seginw", "NAME/valid/_annotations_min1cat.coco.json"),
        ("BSDS500", "BSR_bsds500.tgz"),
        ("instances_val2017.json", "annotations_trainval2017.zip"),
    ],
)
def test_a_missing_data_set_gets_its_own_instructions(tmp_path, name, says):
    for there in (False, True):
        if there and not name.endswith(".json"):
            (tmp_path / name).mkdir()
        with pytest.raises(InputError) as refused:
            open_dataset(tmp_path / name)
        text = str(refused.value)
        assert says in text and "https://" in text.replace("http://", "https://")
        assert len([hint for hint in ("DUTS:", "MVTec AD:", "UVO:", "COCO:") if hint in text]) <= 1


def test_a_name_that_says_nothing_gets_all_instructions(tmp_path):
    with pytest.raises(InputError) as refused:
        open_dataset(tmp_path / "photos")
    for what in ("BSDS500:", "DUTS:", "MVTec AD:", "DAVIS 2017:", "SegInW:", "UVO:", "COCO:"):
        assert what in str(refused.value)


def test_a_list_of_sequences_that_is_no_text_is_refused(tmp_path):
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "480p").mkdir(parents=True)
    listing = tmp_path / "ImageSets" / "2017" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_bytes(b"bike\n\xff\n")
    with pytest.raises(InputError, match=r"val\.txt is no text; expected the name of a sequence"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"videos": [{"id": 1, "file_names": ["clip/0.png"]}] * 2}, "has the video 1 twice"),
        ({"annotations": [{"id": 7, "video_id": 1, "segmentations": {}}]}, "annotations.0.segmentations"),
        ({"annotations": [{"id": "a", "video_id": 1, "segmentations": []}]}, "annotations.0.id"),
        ({"annotations": [{"id": 7, "video_id": 1, "segmentations": [None] * 3}] * 2}, "has the annotation 7 twice"),
        ({"videos": []}, "no frames"),
    ],
)
def test_a_json_of_videos_with_something_else_in_a_field_is_refused(tmp_path, change, said):
    path = make_uvo(tmp_path, {"clip": {7: [SMALL, None, SMALL]}})
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=f"UVO_video_val_dense.json.*{said}"):
        open_dataset(path)
