import numpy as np
import pytest

from eval_zeroshot.prompting.clicks import centre_point, next_click


def rectangle(x0: int, y0: int, x1: int, y1: int, shape: tuple[int, int] = (12, 20)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_the_centre_of_a_rectangle_in_xy_order():
    # 5 wide, 3 high, first pixel (9, 2): the only pixels 2 px from the outside are in row 3, and the first is x = 10
    assert centre_point(rectangle(9, 2, 14, 5)) == (10.0, 3.0, 1)


def test_the_centre_lies_in_the_thick_part_not_at_the_centre_of_gravity():
    handle = rectangle(0, 5, 15, 6) | rectangle(15, 3, 20, 8)
    assert centre_point(handle)[:2] == (17.0, 5.0)


def test_the_edge_of_the_photo_is_a_boundary():
    # Without the padding the corner pixel would be farthest from any pixel outside the mask.
    assert centre_point(rectangle(0, 0, 5, 5))[:2] == (2.0, 2.0)


def test_a_mask_that_fills_the_photo_has_its_centre_in_the_middle():
    assert centre_point(np.ones((5, 5), bool))[:2] == (2.0, 2.0)


def test_an_empty_mask_cannot_be_clicked():
    with pytest.raises(ValueError, match="empty"):
        centre_point(np.zeros((4, 6), bool))


def test_the_next_click_is_on_what_is_missing_where_that_is_the_deeper_error():
    truth, found = rectangle(2, 2, 14, 9), rectangle(2, 2, 7, 9) | rectangle(16, 0, 19, 3)
    # missing: x 7..13, y 2..8, 7 x 7, centre (10, 5) at depth 4; surplus: 3 x 3 at depth 2
    assert next_click(truth, found) == (10.0, 5.0, 1)


def test_the_next_click_is_on_what_is_too_much_where_that_is_the_deeper_error():
    truth, found = rectangle(2, 2, 5, 5), rectangle(10, 3, 15, 8)
    assert next_click(truth, found) == (12.0, 5.0, 0)


def test_a_long_thin_error_is_smaller_than_a_round_one():
    truth = rectangle(0, 0, 20, 1) | rectangle(8, 6, 11, 9)  # 20 px at depth 1, 9 px at depth 2
    assert next_click(truth, np.zeros_like(truth)) == (9.0, 7.0, 1)


def test_equal_errors_are_clicked_as_surplus():
    assert next_click(rectangle(0, 0, 3, 3), rectangle(9, 4, 12, 7)) == (10.0, 5.0, 0)


def test_a_perfect_mask_gets_no_click():
    truth = rectangle(3, 1, 8, 9)
    assert next_click(truth, truth.copy()) is None
