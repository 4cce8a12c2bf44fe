import numpy as np
import pytest
import torch
import torch.nn.functional as F

from encoders.predictor import Prediction
from eval_zeroshot import FillBox, get_suite
from eval_zeroshot.suites.edgesam_frame import (
    answer_cells,
    centre_in_frame,
    in_frame,
    photo_cells,
    random_click,
    resampled_truths,
    truth_cells,
)

BOX, POINT = get_suite("box_edgesam"), get_suite("point_edgesam")


def rectangle(x0: int, y0: int, x1: int, y1: int, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_cells_of_a_photo_twice_as_wide_as_high():
    # 128 x 64 px: 8 frame pixels, 2 cells each; the photo covers the upper 128 of 256 rows of cells
    truth = rectangle(100, 10, 120, 30, (64, 128))
    assert np.array_equal(truth_cells(truth[None])[0], rectangle(200, 20, 240, 60, (256, 256)))
    touched, inside = photo_cells((64, 128))
    assert np.array_equal(touched, rectangle(0, 0, 256, 128, (256, 256)))
    assert np.array_equal(inside, touched)


def test_cells_are_those_of_a_bilinear_resize_cut_above_zero():
    truth = np.random.default_rng(0).random((37, 53)) < 0.1
    height, width = 715, 1024  # 37 / 53 of the frame: 714.87
    framed = F.interpolate(torch.from_numpy(truth)[None, None].float(), (height, width), mode="nearest")
    padded = F.pad(framed, (0, 0, 0, 1024 - height))
    cells = F.interpolate(padded, (256, 256), mode="bilinear", align_corners=False)[0, 0].numpy() > 0
    assert np.array_equal(truth_cells(truth[None])[0], cells)


def test_the_resampled_truth_is_larger():
    # 640 px to 1024: pixel 4 is looked up between frame pixels 6 and 7, which are pixels 3 and 4 of the photo
    truth = rectangle(300, 1, 400, 4, (480, 640))
    (resampled,) = resampled_truths(truth[None])
    assert resampled[1:5, 310].tolist() == [True] * 4
    assert not resampled[5:].any()
    assert (resampled | truth == resampled).all()


def test_answers_are_read_off_the_logits_where_there_are_any():
    masks = rectangle(100, 10, 120, 30, (64, 128))[None]
    assert np.array_equal(answer_cells(masks, np.zeros((1, 1, 1))), truth_cells(masks))
    logits = np.full((1, 64, 64), -1.0)
    logits[0, 8:16, 40:60] = 1.0
    cells = answer_cells(masks, logits)[0]
    assert cells[33:63, 161:239].all() and not cells[:31].any() and not cells[:, :159].any()


def test_the_centre_is_found_in_the_frame():
    # x 100-119, y 10-29 of a 128 x 64 photo: frame 800-959, 80-239, 160 px wide; first of the deepest: 79 px in
    assert centre_in_frame(rectangle(100, 10, 120, 30, (64, 128)))[:2] == pytest.approx((879 / 8, 159 / 8))


def test_a_click_lies_on_an_error_and_says_which_kind():
    truth, answer = rectangle(200, 20, 240, 60, (256, 256)), rectangle(200, 20, 220, 60, (256, 256))
    for seed in range(20):
        click = random_click(truth, answer, shape=(64, 128), random=np.random.default_rng(seed))
        assert click.label == 1 and 110 <= click.x < 120 and 10 <= click.y < 30
        click = random_click(answer, truth, shape=(64, 128), random=np.random.default_rng(seed))
        assert click.label == 0 and 110 <= click.x < 120


def test_any_wrong_cell_is_as_likely_and_models_with_like_errors_get_like_clicks():
    truth, nothing = rectangle(0, 0, 5, 4, (256, 256)), np.zeros((256, 256), bool)
    most = nothing.copy()
    most[:4, :2] = True  # 12 of the same 20 cells are wrong
    pairs = [
        [random_click(truth, answer, shape=(256, 256), random=np.random.default_rng(seed)) for answer in (nothing, most)]
        for seed in range(2000)
    ]
    where = np.unique([click[:2] for click, _ in pairs], axis=0, return_counts=True)[1]
    assert len(where) == 20 and where.min() > 60 and where.max() < 140  # 100 each on average, 4 errors of 9.7
    alike = np.mean([first == second for first, second in pairs])
    assert alike == pytest.approx(12 / 20, abs=0.05)


def test_a_small_error_gets_no_click():
    truth = rectangle(3, 3, 6, 6, (256, 256))  # 9 cells
    assert random_click(truth, np.zeros_like(truth), shape=(9, 9), random=np.random.default_rng(0)).label == -1


def test_what_is_beyond_the_photo_is_no_error():
    nothing = np.zeros((256, 256), bool)
    assert random_click(nothing, ~nothing, shape=(64, 128), random=np.random.default_rng(1)).y < 64
    beyond = rectangle(0, 128, 256, 256, (256, 256))
    assert random_click(nothing, beyond, shape=(64, 128), random=np.random.default_rng(1)).label == -1


class Recorder(FillBox):
    """The left half of a box or of the object's photo; keeps what it was asked."""

    identity = "recorder"

    def __init__(self) -> None:
        super().__init__()
        self.asked = []

    def predict(self, prompts, *, multimask=True):
        self.asked.append((prompts.points, prompts.labels, prompts.boxes, prompts.masks, multimask))
        count = len(prompts.boxes) if prompts.boxes is not None else len(prompts.points)
        found = np.zeros((count, 3 if multimask else 1, *self._shape), bool)
        found[..., :15] = True
        return Prediction(found, np.ones(found.shape[:2]), np.zeros((*found.shape[:2], 1, 1)))


def test_a_box_gets_two_points_that_add_up_and_no_mask(make_sample):
    model = Recorder()
    result = BOX.run(model, [make_sample((10, 4, 20, 16), annotation_ids=[5])])
    single = [asked for asked in model.asked if not asked[4]]
    assert [0 if points is None else points.shape[1] for points, *_ in single] == [0, 1, 2]
    assert all(boxes.tolist() == [[10, 4, 20, 16]] and masks is None for _, _, boxes, masks, _ in single)
    assert np.array_equal(single[1][0], single[2][0][:, :1])
    (x, y), label = single[2][0][0, 1], single[2][1][0, 1]
    assert (label == 1 and 15 <= x < 20 and 4 <= y < 16) or (label == 0 and x < 15)
    # the half x < 15 against x 10-19, y 4-15: 5 x 12 over 15 x 20 + 5 x 12
    assert result.value == pytest.approx(60 / 360)
    assert {"plus_1", "plus_2", "most_confident", "oracle", "resampled_truth"} <= set(result.extra)


def test_a_point_is_the_first_click_and_there_is_no_box(make_sample):
    model = Recorder()
    POINT.run(model, [make_sample((10, 4, 20, 16))])
    assert [asked[0].shape[1] for asked in model.asked if not asked[4]] == [1, 2, 3]
    assert all(boxes is None for _, _, boxes, *_ in model.asked)
    # frame 1024 / 30 px per pixel; the deepest pixel is in the middle of x 10-19, y 4-15, half a width from the sides
    assert model.asked[0][0][0, 0].tolist() == pytest.approx([15, 9], abs=0.1)


def test_clicks_belong_to_the_object_whatever_else_is_asked(make_sample):
    boxes, ids = [(2, 2, 28, 8), (10, 10, 20, 19)], [7, 9]
    together, alone, other = Recorder(), Recorder(), Recorder()
    BOX.run(together, [make_sample(*boxes, annotation_ids=ids)])
    BOX.run(alone, [make_sample(boxes[1], annotation_ids=ids[1:])])
    BOX.run(other, [make_sample(boxes[1], annotation_ids=[10])])
    clicks = [[asked[0] for asked in model.asked if not asked[4]][2][-1].tolist() for model in (together, alone, other)]
    assert clicks[0] == clicks[1] != clicks[2]


@pytest.mark.parametrize("suite", [BOX, POINT])
def test_crowds_and_empty_objects_are_skipped_and_a_photo_without_any_counts_as_one(suite, make_sample):
    photo = make_sample((10, 4, 20, 16), (2, 2, 8, 8), (4, 4, 4, 4), annotation_ids=[5, 6, 7], crowd=[0, 1, 0])
    result = suite.run(Recorder(), [photo, make_sample(key="none")])
    assert (result.n, result.images, result.skipped) == (1, 2, {"crowd": 1, "empty": 1})
    assert result.value == pytest.approx(60 / 360)


def test_the_frame_is_torchs_nearest_neighbour():
    """For most sizes this is integer division; 474 x 640 is one of the others."""
    truth = np.random.default_rng(3).random((474, 640)) < 0.3
    framed = F.interpolate(torch.from_numpy(truth)[None, None].float(), (758, 1024), mode="nearest")[0, 0].numpy() > 0
    assert np.array_equal(in_frame(truth[None])[0], framed)
