"""Which object a detector's box is of: by hand, on a photo of 20 x 30."""

import numpy as np
import pytest

from encoders.samples.rle import encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot.ap.hits import hit_values, matched_objects
from tests.layouts import rectangle

LEFT, RIGHT = (3, 2, 13, 12), (15, 4, 25, 9)  # xyxy


@pytest.fixture
def photo():
    """An object of category 5 on the left, one of category 6 on the right, a crowd of category 5 over both."""
    boxes = [LEFT, RIGHT, (0, 0, 30, 20)]
    masks = [rectangle(box) for box in boxes]
    facts = {"category_ids": [5, 6, 5], "annotation_ids": [71, 72, 73], "crowd": [0, 0, 1]}
    return Sample(key="a", image=np.zeros((20, 30, 3), np.uint8), boxes=boxes, masks=masks, **facts)


def matched(photo, *boxes, categories, scores):
    return matched_objects(photo, boxes=np.asarray(boxes), categories=np.asarray(categories), scores=np.asarray(scores))


def test_a_box_is_of_the_object_of_its_category_that_it_overlaps_by_half(photo):
    # 10 x 10 moved right by 3 and by 4: IoU 7 / 13 and 6 / 14
    assert matched(photo, (6, 2, 16, 12), (7, 2, 17, 12), categories=[5, 5], scores=[0.1, 0.9]) == [0, -1]
    assert matched(photo, LEFT, RIGHT, categories=[6, 6], scores=[1, 1]) == [-1, 1]
    assert matched(photo, (0, 0, 30, 20), categories=[5], scores=[1]) == [-1]  # a crowd is nobody's
    assert matched(photo, tuple(np.asarray(RIGHT)[[1, 0, 3, 2]]), categories=[6], scores=[1]) == [-1]  # swapped axes


def test_of_two_boxes_of_an_object_the_surer_one_is_its(photo):
    assert matched(photo, LEFT, (4, 2, 13, 12), categories=[5, 5], scores=[0.4, 0.6]) == [-1, 0]
    assert matched(photo, LEFT, LEFT, categories=[5, 5], scores=[0.5, 0.5]) == [0, -1]  # duplicates: the first


def test_what_an_observation_keeps(photo):
    masks = [encode_mask(rectangle((3, 2, 8, 12))), encode_mask(rectangle(RIGHT))]
    values = hit_values(
        photo, boxes=np.asarray([LEFT, RIGHT]), categories=np.asarray([5, 5]), scores=np.asarray([0.5, 0.9]), masks=masks
    )
    assert values["annotation"] == [71, -1] and values["mask_iou"] == [0.5, 0]
    assert [values[name] for name in ("x0", "y0", "x1", "y1")] == [[3, 15], [2, 4], [13, 25], [12, 9]]


def test_no_box_and_no_object(photo):
    nothing = np.zeros((0, 4))
    assert hit_values(photo, boxes=nothing, categories=np.zeros(0), scores=np.zeros(0), masks=[])["annotation"] == []
    bare = Sample(key="b", image=photo.image)
    assert matched(bare, LEFT, categories=[5], scores=[1]) == [-1]
