"""Annotation and result files with anything anywhere: each is read, or refused by a message that names the file."""

import copy
import json
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from encoders.samples.coco import CocoDataset
from encoders.samples.rle import encode_mask
from eval_zeroshot import open_dataset
from eval_zeroshot.ap.annotations import read_annotations
from eval_zeroshot.ap.backends import average_precision
from eval_zeroshot.ap.detections import checked_for, read_detections
from eval_zeroshot.suites.detector_boxes.instance import InstanceAp
from eval_zeroshot.suites.detector_boxes.instance_protocols import PROTOCOLS

VALUES = (None, -1, 1.5, 2**70, "x", [], [[1]], {}, float("nan"), "1e999")
MASK = np.zeros((20, 30), bool)
MASK[2:12, 3:10] = True
POLYGON = [[3, 2, 10, 2, 10, 12, 3, 12]]
ONE = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [3, 2, 7, 10], "area": 70, "iscrowd": 0, "segmentation": POLYGON}
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30, "license": 1}],
    "annotations": [ONE, ONE | {"id": 6, "segmentation": encode_mask(MASK)}],
    "categories": [{"id": 1, "name": "x"}],
}
LVIS = copy.deepcopy(COCO)
LVIS["images"][0] |= {"coco_url": "http://x/val2017/a.png", "neg_category_ids": [2], "not_exhaustive_category_ids": [1]}
LVIS["categories"][0]["frequency"] = "r"
DETECTED = [
    {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [3, 2, 7, 10], "segmentation": encode_mask(MASK)},
    {"image_id": 1, "category_id": 1, "score": 0.25, "bbox": [1, 2, 9, 10], "segmentation": encode_mask(MASK)},
]
VIDEOS = {
    "videos": [{"id": 1, "width": 30, "height": 20, "file_names": ["a.png", "a.png"]}],
    "annotations": [{"id": 3, "video_id": 1, "segmentations": [POLYGON, encode_mask(MASK)]}],
}


def places(value, path=()):
    """Paths of all values within a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in items:
        yield from places(one, (*path, name))


def changed(value, path, new):
    """A copy with something else at a path, as JSON text; "1e999" becomes a number too large for a float."""
    if not path:
        return json.dumps(new).replace('"1e999"', "1e999")
    content = copy.deepcopy(value)
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = new
    return json.dumps(content).replace('"1e999"', "1e999")


def read_coco(path):
    for sample in CocoDataset(path, images=path.parent):
        sample.annotations_sha256()


def read_truth(path):
    truth = read_annotations(path)
    for iou_type in ("segm", "bbox"):
        records = checked_for(truth, read_detections(path.parent / "detected.json"), iou_type=iou_type)
        average_precision(truth, records, iou_type=iou_type)


def read_detected(path):
    detections = read_detections(path)
    truth = read_annotations(path.parent / "coco.json")
    average_precision(truth, checked_for(truth, detections, iou_type="segm"), iou_type="segm")


def read_boxes(path):
    truth = read_annotations(path)
    detections = read_detections(path.parent / "detected.json")
    InstanceAp(next(iter(PROTOCOLS.values())), detections=detections, truth=truth)


def read_videos(path):
    for sample in open_dataset(path, images=path.parent):
        sample.annotations_sha256()


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "coco.json").write_text(json.dumps(COCO))
    (tmp_path / "detected.json").write_text(json.dumps(DETECTED))
    return tmp_path


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (read_coco, LVIS),
        (read_truth, COCO),
        (read_truth, LVIS),
        (read_boxes, LVIS),
        (read_detected, DETECTED),
        (read_videos, VIDEOS),
    ],
    ids=["coco", "truth", "lvis truth", "boxes", "detections", "videos"],
)
def test_anything_anywhere_is_read_or_refused(folder, read, content):
    path = folder / "given.json"
    path.write_text(json.dumps(content))
    read(path)
    refused = tried = 0
    failed = []
    for place in places(content):
        for new in VALUES:
            path.write_text(changed(content, place, new))
            tried += 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    read(path)
                except InputError:
                    refused += 1
                except Exception as error:
                    failed.append(f"{new!r} at {place}: {type(error).__name__}: {error}")
    assert failed == [] and refused > tried / 3


@pytest.mark.parametrize("read", [read_coco, read_truth, read_detected])
@pytest.mark.parametrize(
    "data", [b"", b"\xff", b'{"images": [{"id"', b"[" * 100_000, b'{"a":' * 100_000, b'{"images": NaN', b"\xef\xbb\xbf[]"]
)
def test_what_is_no_json_is_refused(folder, read, data):
    (folder / "given.json").write_bytes(data)
    with pytest.raises(InputError, match="given.json is not valid json"):
        read(folder / "given.json")


@pytest.mark.parametrize("read", [read_coco, read_truth, read_detected])
def test_what_is_no_file_is_refused_without_waiting(folder, read):
    os.mkfifo(folder / "pipe.json")
    for name, said in (("pipe.json", "is a pipe"), ("", "is a folder"), ("none.json", "none.json does not exist; expected")):
        with pytest.raises(InputError, match=said):
            read(folder / name)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("field", "said"),
    [("score", "result 1: score"), ("bbox", "result 1: bbox"), ("segmentation", "result 1, image 1: .*no number")],
)
def test_numbers_of_detections_that_are_none_are_refused_by_name(folder, number, field, said):
    values = {"score": number, "bbox": f"[1, 2, {number}, 3]", "segmentation": f"[[1, 2, {number}, 2, 9, 9]]"}
    records = copy.deepcopy(DETECTED)
    records[1][field] = "here"
    (folder / "given.json").write_text(json.dumps(records).replace('"here"', values[field]))
    with pytest.raises(InputError, match=f"given.json, {said}"):
        read_detected(folder / "given.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
@pytest.mark.parametrize("field", ["bbox", "area", "segmentation"])
def test_numbers_of_annotations_that_are_none_are_refused_by_name(folder, number, field):
    values = {"area": number, "bbox": f"[1, 2, {number}, 3]", "segmentation": f"[[1, 2, {number}, 2, 9, 9]]"}
    content = copy.deepcopy(COCO)
    content["annotations"][1][field] = "here"
    (folder / "given.json").write_text(json.dumps(content).replace('"here"', values[field]))
    with pytest.raises(InputError, match="a.png: annotation 6: .*(finite|no number)"):
        read_coco(folder / "given.json")
    with pytest.raises(InputError, match=f"given.json, .*({field} is|image 1: .*no number)"):
        read_truth(folder / "given.json")


def test_an_image_without_a_name_is_refused_where_names_are_needed(folder):
    content = copy.deepcopy(COCO)
    del content["images"][0]["file_name"]
    (folder / "given.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="given.json, image 1: no file_name and no coco_url"):
        read_boxes(folder / "given.json")
