import math

import numpy as np
import pytest

from encoders.samples.overlap import mask_iou
from eval_zeroshot.metrics.masks import mean_and_error, size_class


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((7, 11), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_iou_by_hand():
    # 3 x 2 = 6 px and 3 x 3 = 9 px share 2 x 2 = 4 px: 4 / (6 + 9 - 4)
    assert mask_iou(rectangle(1, 1, 4, 3), rectangle(2, 1, 5, 4)) == pytest.approx(4 / 11)


def test_iou_of_several_masks_each_with_its_own_truth():
    found = np.stack([np.stack([rectangle(0, 0, 2, 2), rectangle(0, 0, 4, 2)]), np.zeros((2, 7, 11), bool)])
    truth = np.stack([rectangle(0, 0, 2, 2), rectangle(5, 5, 6, 6)])
    np.testing.assert_allclose(mask_iou(found, truth[:, None]), [[1.0, 0.5], [0.0, 0.0]])


def test_two_empty_masks_agree_and_one_empty_mask_does_not():
    empty = np.zeros((7, 11), bool)
    assert mask_iou(empty, empty) == 1.0
    assert mask_iou(empty, rectangle(0, 0, 1, 1)) == 0.0


def test_masks_of_a_turned_photo_are_refused():
    with pytest.raises(ValueError, match="height, width"):
        mask_iou(np.zeros((7, 11), bool), np.zeros((11, 7), bool))


def test_standard_error_by_hand():
    # mean 0.5, squared deviations .09 + .01 + .01 + .09 = .2, variance .2 / 3, error sqrt(.2 / 3 / 4)
    mean, error = mean_and_error([0.2, 0.4, 0.6, 0.8])
    assert mean == pytest.approx(0.5)
    assert error == pytest.approx(math.sqrt(0.2 / 12))


def test_a_mean_of_nothing_is_none_and_one_value_has_no_error():
    assert mean_and_error([]) == (None, None)
    assert mean_and_error([0.25]) == (0.25, None)


@pytest.mark.parametrize(
    ("area", "size"),
    [(0, "small"), (1024, "small"), (1024.5, "medium"), (9216, "medium"), (9217, "large"), (1e6, "large")],
)
def test_size_classes_of_coco_with_their_ends(area: float, size: str):
    assert size_class(area) == size
