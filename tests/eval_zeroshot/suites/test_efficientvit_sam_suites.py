import numpy as np
import pytest

from encoders.predictor import Prediction
from eval_zeroshot import FillBox, get_suite
from eval_zeroshot.metrics.masks import sizes_with_both_ends
from eval_zeroshot.prompting.clicks import next_click

BOX, POINT = get_suite("box_efficientvit_sam"), get_suite("point_efficientvit_sam")


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y0:y1, x0:x1] = True
    return mask


class Script(FillBox):
    """Answers call after call, one prompt each: three masks with their scores."""

    def __init__(self, *answers) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked = []

    def predict(self, prompts, *, multimask=True):
        assert multimask and prompts.masks is None
        found, scores = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append((prompts.points, prompts.labels))
        return Prediction(np.stack(found)[None], np.asarray([scores]), np.zeros((1, 3, 1, 1)))


def sure_of(mask: np.ndarray):
    return [mask & False, mask, ~mask], [0.1, 0.9, 0.2]


def test_the_mask_with_the_highest_predicted_iou_counts_even_where_another_is_better(make_sample):
    right, half = rectangle(2, 2, 6, 6), rectangle(2, 2, 6, 4)
    result = BOX.run(Script(([right, half, right & False], [0.3, 0.8, 0.5])), [make_sample((2, 2, 6, 6))])
    assert result.value == pytest.approx(0.5)
    assert result.extra["oracle"].value == pytest.approx(1.0)


def test_crowds_count_and_areas_below_one_do_not(make_sample):
    sample = make_sample((2, 2, 6, 6), (8, 2, 12, 6), (20, 2, 21, 3), crowd=[True, False, False], areas=[16, 16, 0.99])
    result = BOX.run(FillBox(), [sample])
    assert (result.n, result.skipped) == (2, {"area below 1": 1})


def test_an_object_without_a_pixel_scores_zero_whatever_the_answer(make_sample):
    sample = make_sample((5, 5, 5, 5), areas=[3])
    nothing = rectangle(0, 0, 0, 0)
    assert BOX.run(Script(sure_of(nothing)), [sample]).value == 0
    model = Script(sure_of(nothing))
    assert POINT.run(model, [sample]).value == 0
    assert (model.asked[0][0].tolist(), model.asked[0][1].tolist()) == ([[[0, 0]]], [[0]])


@pytest.mark.parametrize(
    ("area", "sizes"),
    [
        (1, ("small",)),
        (1024, ("small", "medium")),
        (1024.5, ("medium",)),
        (9216, ("medium", "large")),
        (9217, ("large",)),
    ],
)
def test_ends_belong_to_both_sizes(area, sizes):
    assert sizes_with_both_ends(area) == sizes


def test_an_object_at_an_end_is_in_both_sizes_of_a_result(make_sample):
    sample = make_sample((2, 2, 6, 6), (8, 2, 12, 6), areas=[1024, 9000])
    sizes = {size: estimate.n for size, estimate in BOX.run(FillBox(), [sample]).breakdown.items()}
    assert sizes == {"small": 1, "medium": 2, "large": 0}


def test_no_pixel_is_clicked_twice():
    truth, nothing = rectangle(9, 2, 14, 5), rectangle(0, 0, 0, 0)  # 5 x 3: deepest are x 10, 11, 12 of row 3
    clicks = []
    for _ in range(3):
        clicks.append(next_click(truth, nothing, avoid=clicks))
    assert [click[:2] for click in clicks] == [(10, 3), (11, 3), (12, 3)]
    one = rectangle(4, 4, 5, 5)
    assert next_click(one, nothing, avoid=[next_click(one, nothing)]) is None


def test_the_clicks_of_a_hand_worked_sequence(make_sample):
    truth = rectangle(10, 4, 17, 11)  # 7 x 7, centre (13, 7)
    narrow = rectangle(10, 4, 12, 11)  # 14 of 49 px; 5 x 7 missing, deepest from (14, 6) on
    model = Script(sure_of(narrow), sure_of(narrow), sure_of(truth))
    result = POINT.run(model, [make_sample((10, 4, 17, 11))])
    assert [points[0].tolist() for points, _ in model.asked[:3]] == [
        [[13, 7]],
        [[13, 7], [14, 6]],
        [[13, 7], [14, 6], [14, 7]],  # the same error again: its next deepest pixel
    ]
    # nothing is wrong after the third: background clicks at the photo's first pixel, as there
    assert model.asked[4][0][0, 3:].tolist() == [[0, 0], [0, 0]]
    assert model.asked[4][1].tolist() == [[1, 1, 1, 0, 0]]
    assert result.value == pytest.approx(14 / 49)
    assert result.extra["click_3"].value == pytest.approx(1)
    assert result.extra["click_5"].value == pytest.approx(1)
