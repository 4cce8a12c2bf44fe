"""Boxes that do not belong to their masks are told, and ordinary ones are not."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from encoders.errors import InputWarning
from eval_zeroshot import FillBox, box_iou, evaluate
from eval_zeroshot.ap.detections import read_detections


def boxed(sample, boxes):
    return replace(sample, boxes=np.asarray(boxes, np.float32))


@pytest.mark.parametrize(
    "boxes",
    [
        [(10, 2, 24, 14), (3, 10, 12, 28)],  # corners read as x, y, width, height: 10 + 14, 2 + 12; ...
        [(2, 10, 12, 14), (10, 3, 18, 9)],  # x and y swapped
        [(1000, 1000, 1004, 1010), (1000, 1000, 1009, 1008)],
        [(10, 2, 10, 2), (3, 10, 3, 10)],  # no size
    ],
)
def test_boxes_that_are_not_their_masks_are_told(make_sample, boxes):
    facts = {"annotation_ids": [8, 9]}
    samples = [boxed(make_sample((10, 2, 14, 12), (3, 10, 12, 18), key=key, **facts), boxes) for key in ("a", "b")]
    told = "d: the boxes of 4 of 4 objects overlap .* annotation 8 of a first; expected x, y, width, height"
    with pytest.warns(InputWarning, match=told):
        evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, dataset="d")


def test_good_boxes_crowds_empty_masks_and_one_in_a_hundred_are_not(make_sample):
    good = (10, 2, 14, 12)
    wrong = boxed(make_sample(good, key="b"), [(0, 0, 2, 2)])
    crowd = boxed(make_sample(good, key="c", crowd=[1]), [(0, 0, 2, 2)])
    empty = make_sample((4, 4, 4, 4), key="d")
    few = boxed(make_sample(good, (3, 10, 12, 18), key="f"), [(0, 0, 2, 2), (0, 0, 2, 2)])
    many = make_sample(*[good] * 149, key="e")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate({"m": FillBox()}, suites=[box_iou], samples=[make_sample(good), crowd, empty])
        evaluate({"m": FillBox()}, suites=[box_iou], samples=[few])
        evaluate({"m": FillBox()}, suites=[box_iou], samples=[many, few, wrong])


def test_detections_that_repeat_others_are_told(tmp_path):
    record = '{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [0, 0, 1, 1]}'
    (tmp_path / "r.json").write_text(f"[{record}, {record}, {record.replace('0.5', '0.4')}]")
    with pytest.warns(InputWarning, match=r"r\.json: 1 of 3 detections repeat another one exactly"):
        assert len(read_detections(tmp_path / "r.json").records) == 3
