import numpy as np
import pytest

from encoders.prompts import Prompts
from eval_zeroshot import FillBox, get_suite
from eval_zeroshot.prompting.clicks import centre_point
from eval_zeroshot.suites.robustness import jittered, shifted_click

JITTER, SHIFT = get_suite("box_jitter"), get_suite("point_shift")


def test_sides_move_by_parts_of_their_own_length_within_the_photo():
    boxes = np.asarray([[10, 4, 20, 8], [0, 0, 30, 20]], np.float32)  # 10 x 4 px, and the whole photo
    parts = np.asarray([[0.1, -0.5, -0.2, 0.25]] * 2)
    moved = jittered(boxes, parts=parts, shape=(20, 30))
    np.testing.assert_allclose(moved, [[11, 2, 18, 9], [3, 0, 24, 20]])


def test_a_filled_box_loses_what_the_jitter_takes(make_sample):
    class Keeps(FillBox):
        asked = []

        def predict(self, prompts, *, multimask=True):
            self.asked.append(prompts.boxes)
            return super().predict(Prompts(boxes=prompts.boxes), multimask=multimask)

    model = Keeps()
    result = JITTER.run(model, [make_sample((10, 5, 20, 15), annotation_ids=[3])])
    clean, *noisy = (boxes[0] for boxes in model.asked)
    assert clean.tolist() == [10, 5, 20, 15]
    by_level = [(box - clean) / 10 / level for box, level in zip(noisy, (0.05, 0.1, 0.2), strict=True)]
    np.testing.assert_allclose(by_level[0], by_level[1], atol=1e-4)  # the same direction, further and further
    np.testing.assert_allclose(by_level[0], by_level[2], atol=1e-4)
    assert np.abs(by_level[0]).max() <= 1
    assert result.extra["clean"].value == 1.0
    for level in (5, 20):
        assert result.extra[f"drop_{level}"].value == pytest.approx(1 - result.extra[f"noise_{level}"].value)
    assert result.extra["drop_10"].value == pytest.approx(1 - result.value)
    assert result.extra["drop_20"].value > 0


def l_shape() -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[2:18, 3:8] = True  # 16 x 5 and 4 x 20 px: an L whose bounding box is mostly outside it
    mask[14:18, 3:23] = True
    return mask


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0])
def test_shifted_clicks_stay_inside_the_object(shift):
    mask = l_shape()
    clicks = {shifted_click(mask, shift=shift, random=np.random.default_rng(seed))[:2] for seed in range(300)}
    assert all(mask[int(y), int(x)] for x, y in clicks)
    assert len(clicks) > 5


def test_a_small_shift_stays_deep_and_a_whole_one_reaches_the_edge():
    mask = np.zeros((20, 30), bool)
    mask[4:13, 10:21] = True  # 11 x 9 px: deepest pixels are 5 px from the outside
    small = {shifted_click(mask, shift=0.25, random=np.random.default_rng(seed))[:2] for seed in range(300)}
    assert {y for _, y in small} == {7, 8, 9} and {x for x, _ in small} == {13, 14, 15, 16, 17}  # at least 3.75 px: 4
    whole = {shifted_click(mask, shift=1.0, random=np.random.default_rng(seed))[:2] for seed in range(1500)}
    assert len(whole) == 99


def test_point_shift_asks_at_the_centre_first_and_the_same_again_for_another_model(make_sample, oracle):
    samples = [make_sample((10, 4, 21, 13), annotation_ids=[8])]
    models = [oracle(*samples) for _ in range(2)]
    results = [SHIFT.run(model, samples) for model in models]
    clicks = [[asked["points"].tolist() for asked in model.asked] for model in models]
    assert clicks[0] == clicks[1]
    assert tuple(clicks[0][0][0][0]) == centre_point(samples[0].masks[0])[:2]
    assert results[0].value == 1.0
    assert results[0].extra["drop_100"].value == 0.0
