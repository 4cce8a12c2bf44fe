"""J, F and following: numbers by hand, an independent F, the rules of DAVIS, resuming. Frames are 20 high and 30 wide."""

from dataclasses import replace

import numpy as np
import pytest

import encoders
from encoders.errors import InputError
from encoders.predictor import Prediction
from encoders.samples.rle import encode_mask
from eval_zeroshot import FillBox, evaluate, get_suite, open_dataset
from eval_zeroshot.metrics.boundary_f import boundary_f, outline
from eval_zeroshot.predictors.baselines import fill_box
from eval_zeroshot.suites import tracking
from eval_zeroshot.suites.tracking import follow, mask_logits, next_prompts
from tests.layouts import make_davis, make_uvo, rectangle

VIDEO = get_suite("video")
NOTHING = np.zeros((20, 30), bool)


@pytest.fixture(autouse=True)
def _narrow_margin(monkeypatch):
    """Less than half a pixel on each side of objects up to 9 pixels, so that a filled box stays what it is."""
    monkeypatch.setattr(tracking, "BOX_MARGIN", 0.05)


class Blind(FillBox):
    """Fills the box on the first frames, and sees nothing from call number `after` on."""

    identity = "blind"

    def __init__(self, *, after: int = 0) -> None:
        super().__init__()
        self.left = after

    def predict(self, prompts, *, multimask=True):
        answer = super().predict(prompts, multimask=multimask)
        self.left -= 1
        return answer if self.left >= 0 else Prediction(np.zeros_like(answer.masks), answer.scores, answer.logits)


def slow_f(prediction, truth):
    """F by its definition, pixel pair by pixel pair."""
    reach = int(np.ceil(0.008 * np.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2)))

    def pixels(mask):
        height, width = mask.shape
        found = []
        for y in range(height):
            for x in range(width):
                others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
                if y == height - 1:
                    others = [(y, x + 1)]
                if x == width - 1:
                    others = [(y + 1, x)]
                if (y, x) == (height - 1, width - 1):
                    others = []
                if any(mask[y, x] != mask[other] for other in others):
                    found.append((y, x))
        return found

    ours, theirs = pixels(prediction), pixels(truth)
    if not ours or not theirs:
        return 1.0 if not ours and not theirs else 0.0

    def share(first, second):
        near = [any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in second) for y, x in first]
        return sum(near) / len(near)

    precision, recall = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_an_outline_lies_north_west_of_the_edge_and_never_on_the_border():
    mask = rectangle((2, 1, 4, 3), shape=(4, 6))
    assert np.argwhere(outline(mask)).tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert not outline(np.ones((4, 6), bool)).any()
    right = rectangle((4, 0, 6, 4), shape=(4, 6))  # reaches three borders: only its left side is an outline
    assert np.argwhere(outline(right)).tolist() == [[y, 3] for y in range(4)]


def test_f_by_hand():
    # 0.8 % of the diagonal, 0.29 pixels, becomes 1 pixel: an edge one column off is right, one two columns off is wrong.
    truth = rectangle((0, 0, 12, 20))
    assert boundary_f(rectangle((0, 0, 11, 20)), truth) == 1.0
    assert boundary_f(rectangle((0, 0, 10, 20)), truth) == 0.0
    # Up to row 9 the edge is in column 9, then in column 11, and the step is 2 pixels more: 22, of which 12 are near. Of the
    # truth's 20 those of rows 8 to 19 are near. F = 2 * 12 / (22 + 20).
    step = rectangle((0, 0, 10, 20)) | rectangle((0, 10, 12, 20))
    assert boundary_f(step, truth) == pytest.approx(24 / 42)


def test_f_of_nothing():
    thing = rectangle((3, 2, 9, 6))
    assert (boundary_f(NOTHING, NOTHING), boundary_f(thing, NOTHING), boundary_f(NOTHING, thing)) == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="cannot be compared"):
        boundary_f(thing.T, thing)


@pytest.mark.parametrize("shape", [(20, 30), (150, 110)])  # tolerances of 1 and 2 pixels
def test_f_is_that_of_the_definition(shape):
    rng = np.random.default_rng(1)
    for number in range(6):
        rough = rng.random((5, 4)) < 0.4 + 0.1 * (number % 2)
        truth = np.kron(rough, np.ones((shape[0] // 5, 7), bool))[:, :28]
        truth = np.pad(truth, ((0, shape[0] - truth.shape[0]), (0, shape[1] - truth.shape[1])))
        other = np.roll(truth, (number % 3, 1), (0, 1)) ^ (rng.random(shape) < 0.01)
        assert boundary_f(other, truth) == pytest.approx(slow_f(other, truth))


def test_prompts_of_the_next_frame_by_hand(monkeypatch):
    monkeypatch.setattr(tracking, "BOX_MARGIN", 0.1)
    prompts = next_prompts(np.stack([rectangle((10, 4, 20, 8)), rectangle((0, 12, 4, 20))]), image_size=64)
    assert prompts.boxes.tolist() == [pytest.approx([9, 3.6, 21, 8.4]), pytest.approx([0, 11.2, 4.4, 20])]
    assert prompts.points.tolist() == [[[11, 5]], [[1, 13]]] and prompts.labels.tolist() == [[1], [1]]
    assert prompts.masks.shape == (2, 1, 16, 16)
    assert set(next_prompts(rectangle((1, 1, 5, 3))[None], image_size=None).given) == {"boxes", "points", "labels"}


def test_a_mask_as_logits_lies_where_the_photo_lies_in_the_frame():
    logits = mask_logits(rectangle((16, 0, 32, 16), shape=(16, 32)), image_size=64)  # 32 pixels wide become 16, height 8
    assert logits.shape == (16, 16) and logits.dtype == np.float32
    assert (logits[:8, 9:] == 10).all() and (logits[:8, :7] == -10).all() and (logits[8:] == -10).all()


def test_where_two_objects_overlap_the_surer_one_wins_and_an_empty_one_stays_empty():
    class Unequal(FillBox):
        def predict(self, prompts, *, multimask=True):
            answer = super().predict(prompts, multimask=multimask)
            return Prediction(answer.masks, np.asarray([[0.3], [0.6]], np.float32), answer.logits)

    predictor = Unequal()
    predictor.set_image(np.zeros((20, 30, 3), np.uint8))
    left, right = rectangle((4, 3, 12, 9)), rectangle((8, 5, 16, 11))
    masks, scores = follow(predictor, np.stack([left, NOTHING, right]))
    assert (masks[0] == (left & ~right)).all() and (masks[2] == right).all() and not masks[1].any()
    assert scores.tolist() == pytest.approx([0.3, 0, 0.6])


def test_j_and_f_of_a_moving_object_that_a_filled_box_does_not_follow(tmp_path):
    frames = [rectangle((x, 6, x + 8, 10)) for x in (5, 7, 9, 11)]  # the filled box stays at 5
    data = open_dataset(make_davis(tmp_path, {"walk": [1 * frame for frame in frames]}))
    result = VIDEO.run(FillBox(), data)
    # The first frame is told and the last does not count: overlaps of 6 and 4 columns of 10 and 12.
    j = (24 / 40 + 16 / 48) / 2
    f = (slow_f(frames[0], frames[1]) + slow_f(frames[0], frames[2])) / 2
    assert result.extra["J"].value == pytest.approx(j) and result.extra["F"].value == pytest.approx(f)
    assert result.value == pytest.approx((j + f) / 2)
    assert result.extra["J_recall"].value == 0.5
    assert (result.n, result.images, result.dataset) == (1, 4, "samples")


def test_the_mean_is_over_objects_however_long_their_sequences_are(tmp_path):
    still, other = rectangle((5, 6, 13, 10)), rectangle((20, 2, 28, 8))
    jump = [still, rectangle((16, 12, 24, 16)), rectangle((16, 12, 24, 16))]
    sequences = {"long": [1 * still + 2 * other] * 9, "short": [1 * frame for frame in jump]}
    result = VIDEO.run(FillBox(), open_dataset(make_davis(tmp_path, sequences)))
    assert (result.value, result.n) == (pytest.approx(2 / 3), 3)


def test_an_object_that_vanishes_is_right_when_nothing_is_answered(tmp_path):
    thing = rectangle((5, 6, 13, 10))
    frames = [1 * thing, 1 * thing, 0 * thing, 1 * thing, 1 * thing]
    data = open_dataset(make_davis(tmp_path, {"hide": frames}))
    seen = VIDEO.run(FillBox(), data)  # frames 1, 2, 3: right, wrong as it is gone, right
    assert (seen.extra["J"].value, seen.extra["F"].value) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    lost = VIDEO.run(Blind(after=1), data)  # right, right, and wrong, as an object that was lost is not found again
    assert (lost.extra["J"].value, lost.extra["F"].value) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_void_pixels_are_background(tmp_path):
    thing = rectangle((5, 6, 13, 10))
    half = np.where(rectangle((9, 6, 13, 10)), 255, 1 * thing)
    data = open_dataset(make_davis(tmp_path, {"blur": [1 * thing, half, 1 * thing]}))
    assert VIDEO.run(FillBox(), data).extra["J"].value == pytest.approx(0.5)


def test_two_frames_have_none_that_counts(tmp_path):
    data = open_dataset(make_davis(tmp_path, {"blink": [1 * rectangle((5, 6, 13, 10))] * 2}))
    result = VIDEO.run(FillBox(), data)
    assert (result.value, result.n, result.skipped) == (None, 0, {"object without a frame that counts": 1})


def test_an_object_that_comes_in_later_is_told_where_it_is_first_seen(tmp_path):
    first, late = rectangle((5, 6, 13, 10)), rectangle((20, 2, 28, 8))
    moved = rectangle((20, 4, 28, 10))
    path = make_uvo(tmp_path, {"clip": {7: [first] * 4, 9: [None, late, moved, moved]}})
    result = VIDEO.run(FillBox(), open_dataset(path))
    assert (result.n, result.extra["J"].value) == (2, pytest.approx((1 + 4 / 8) / 2))


class Killed(Exception):
    pass


def test_a_stopped_evaluation_continues_in_the_middle_of_a_sequence(tmp_path):
    frames = [rectangle((5 + step, 6, 12 + step, 10)) for step in range(5)]
    frames[2] = rectangle((5, 6, 8, 10))
    data = open_dataset(make_davis(tmp_path, {"a": [1 * frame for frame in frames], "b": [1 * frames[0]] * 3}))

    class Grows(FillBox):
        identity = "grows"

        def predict(self, prompts, *, multimask=True):
            return super().predict(replace(prompts, boxes=prompts.boxes + np.asarray([[0, 0, 1, 0]])), multimask=multimask)

    class Counts(Grows):
        images = 0

        def set_image(self, image, /):
            self.images += 1
            super().set_image(image)

    def stop(done, total):
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        evaluate({"m": Grows()}, suites=[VIDEO], samples=data, state=tmp_path / "state", progress=stop)
    model = Counts()
    resumed = evaluate({"m": model}, suites=[VIDEO], samples=data, state=tmp_path / "state")
    assert model.images == 5
    assert resumed == evaluate({"m": Grows()}, suites=[VIDEO], samples=data)
    together = evaluate({"m": Grows(), "still": FillBox()}, suites=[VIDEO], samples=data, reference="still")
    assert together[0].value == resumed[0].value != together[1].value  # models side by side do not disturb each other
    assert together[1].extra["agreement"].value == 1.0 > together[0].extra["agreement"].value
    assert together[0].extra["agreement"].n == 3 + 1  # frames that count


def test_frames_without_those_before_them_and_photos_are_refused(tmp_path, make_sample):
    data = open_dataset(make_davis(tmp_path, {"a": [1 * rectangle((5, 6, 13, 10))] * 3}))
    with pytest.raises(InputError, match="frame a-00002 was shown without a-00001 before it; show all frames"):
        VIDEO.run(FillBox(), [data[0], data[2]])
    with pytest.raises(InputError, match=r"a is a photo; give DAVIS 2017: unpack.*UVO: get"):
        VIDEO.run(FillBox(), [make_sample((1, 1, 5, 4))])


def test_a_limit_may_cut_a_sequence(tmp_path):
    data = open_dataset(make_davis(tmp_path, {"a": [1 * rectangle((5, 6, 13, 10))] * 6}), limit=3)
    result = VIDEO.run(FillBox(), data, dataset=data.name)
    assert (result.value, result.images, result.dataset) == (pytest.approx(1), 3, "DAVIS 2017 val[:3]")


def test_the_observation_holds_what_the_next_frame_needs(tmp_path):
    thing = rectangle((5, 6, 13, 10))
    data = open_dataset(make_davis(tmp_path, {"a": [1 * thing] * 3}))
    model = FillBox()
    model.set_image(data[0].image)
    told = VIDEO.observe(model, data[0])
    assert (told.ids, told.masks, told.values) == ([1], [encode_mask(thing)], {})
    after = VIDEO.observe_following(model, data[1], before=told)
    assert after.values["object"] == [1.0] and after.masks == [encode_mask(fill_box([5, 6, 13, 10], shape=(20, 30)))]


def test_a_real_model_is_asked_with_box_click_and_mask(tmp_path):
    thing = rectangle((30, 20, 62, 44), shape=(80, 120))
    data = open_dataset(make_davis(tmp_path, {"a": [1 * np.roll(thing, 2 * step, 1) for step in range(4)]}))
    result = VIDEO.run(encoders.Predictor(encoders.load("sam_demo", image_size=128)), data)
    assert result.n == 1 and 0.5 < result.value <= 1  # a bright square on a dark ground
