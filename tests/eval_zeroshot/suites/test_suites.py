import numpy as np
import pytest
import torch
from torch import nn

from encoders.errors import InputError
from encoders.predictor import Prediction, Predictor
from encoders.prompts import Prompts
from encoders.sam import Sam
from encoders.samples.sample import Sample
from eval_zeroshot import (
    BoxIou,
    FillBox,
    PointIou,
    box_iou,
    choose_suites,
    get_suite,
    point_iou,
    ready_suites,
    register_suite,
    register_suite_maker,
)
from eval_zeroshot.predictors import protocol
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.suites import registry
from eval_zeroshot.suites.about import ABOUT


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y0:y1, x0:x1] = True
    return mask


class Script:
    """Answers call after call with the given masks, one prompt each; the best-scored of three is the middle one."""

    def __init__(self, *answers: np.ndarray) -> None:
        self.answers = list(answers)
        self.asked: list[dict] = []

    def set_image(self, image, /):
        self.shape = image.shape[:2]

    def predict(self, prompts, *, multimask=True):
        mask = self.answers[len(self.asked)]
        self.asked.append(vars(prompts) | {"multimask": multimask})
        channels = 3 if multimask else 1
        found = np.zeros((1, channels, *self.shape), bool)
        found[0, channels // 2] = mask
        scores = np.full((1, channels), 0.1, np.float32)
        scores[0, channels // 2] = 0.9
        logits = np.full((1, channels, 4, 4), -1.0, np.float32)
        logits[0, channels // 2] = len(self.asked)
        return Prediction(found, scores, logits)


def test_a_box_filler_scores_the_share_of_the_box_that_is_object():
    truth = np.zeros((6, 8), dtype=bool)
    truth[1:3, 2:4] = True  # 4 px of object in a 2 x 4 px box: 4 / 8 by hand
    sample = Sample(key="a", image=np.zeros((6, 8, 3), np.uint8), boxes=[[2, 1, 6, 3]], masks=[truth])
    assert box_iou.run(FillBox(), [sample]).value == 0.5


def test_a_model_that_swaps_x_with_y_misses(make_sample):
    class Swapped(FillBox):
        def predict(self, prompts, *, multimask=True):
            return super().predict(Prompts(boxes=prompts.boxes[:, [1, 0, 3, 2]]), multimask=multimask)

    sample = make_sample((12, 3, 18, 7))
    assert box_iou.run(FillBox(), [sample]).value == 1.0
    assert box_iou.run(Swapped(), [sample]).value == 0.0


def test_masks_of_a_turned_photo_are_an_error_that_says_so(make_sample):
    class Turned(FillBox):
        def set_image(self, image, /):
            super().set_image(image.transpose(1, 0, 2))

    with pytest.raises(InputError, match=r"\(1, 1, 30, 20\).*expected \(1, 1, 20, 30\)"):
        box_iou.run(Turned(), [make_sample((12, 3, 18, 7))])


@pytest.mark.parametrize("suite", [box_iou, point_iou])
def test_a_perfect_model_scores_one(suite, make_sample, oracle):
    samples = [
        make_sample((1, 1, 9, 4), (12, 3, 18, 7), key="a", mark=1),
        make_sample((0, 0, 30, 20), key="b", mark=2),
    ]
    result = suite.run(oracle(*samples), samples)
    assert (result.value, result.n, result.standard_error) == (1.0, 3, 0.0)
    own = {"predicted_iou", "stability", "ece"}  # what the model says of itself
    assert {estimate.value for name, estimate in result.extra.items() if name not in own} == {1.0}


def test_box_says_what_the_best_scored_and_the_best_of_three_are_worth(make_sample):
    right, half = rectangle(2, 2, 6, 6), rectangle(2, 2, 6, 4)

    class Three(FillBox):
        def predict(self, prompts, *, multimask=True):
            if not multimask:
                return Prediction(half[None, None] & False, np.zeros((1, 1)), np.zeros((1, 1, 4, 4)))
            found = np.stack([right, half, right & False])[None]
            return Prediction(found, np.asarray([[0.3, 0.8, 0.5]]), np.zeros((1, 3, 4, 4)))

    result = box_iou.run(Three(), [make_sample((2, 2, 6, 6))])
    assert result.value == 0.0
    assert result.extra["most_confident"].value == 0.5
    assert result.extra["oracle"].value == 1.0


def test_the_clicks_of_a_hand_worked_sequence(make_sample):
    truth = rectangle(10, 4, 17, 11)  # 7 x 7, centre (13, 7)
    narrow = rectangle(10, 4, 12, 11)  # x 12..16 missing: 5 x 7, deepest from (14, 6) on
    extra = truth | rectangle(0, 0, 5, 5)  # 5 x 5 too much, centre (2, 2)
    model = Script(narrow, extra, truth)
    result = point_iou.run(model, [make_sample((10, 4, 17, 11))])

    clicks = [(asked["points"].tolist(), asked["labels"].tolist()) for asked in model.asked]
    assert clicks == [
        ([[[13, 7]]], [[1]]),
        ([[[13, 7], [14, 6]]], [[1, 1]]),
        ([[[13, 7], [14, 6], [2, 2]]], [[1, 1, 0]]),
    ]
    assert [asked["multimask"] for asked in model.asked] == [True, False, False]
    assert result.value == pytest.approx(14 / 49)
    assert result.extra["click_3"].value == 1.0
    assert result.extra["click_2"].value == pytest.approx(49 / 74)
    assert result.extra["click_9"].value == 1.0  # a perfect mask is kept, without a fourth to ninth call


def test_the_logits_of_the_mask_before_are_fed_back(make_sample):
    wrong = rectangle(10, 4, 12, 11)
    model = Script(wrong, wrong, wrong)
    PointIou(clicks=(3,)).run(model, [make_sample((10, 4, 17, 11))])
    fed = [asked["masks"] for asked in model.asked]
    assert fed[0] is None
    assert [mask.shape for mask in fed[1:]] == [(1, 1, 4, 4)] * 2
    assert [float(mask.mean()) for mask in fed[1:]] == [1.0, 2.0]  # of the most confident one, then of the last one


def test_only_the_objects_still_wrong_are_clicked_again(make_sample, oracle):
    sample = make_sample((1, 1, 9, 4), (12, 3, 18, 7))
    model = oracle(sample)
    model.answers[0] = np.stack([rectangle(1, 1, 9, 4), rectangle(12, 3, 18, 6)])
    with pytest.raises(InputError, match="expected"):  # this oracle answers for both objects though one is asked
        point_iou.run(model, [sample])
    assert model.asked[1]["points"].shape == (1, 2, 2)
    assert model.asked[1]["points"][0, 0].tolist() == [13.0, 4.0]


def test_crowds_and_empty_masks_are_skipped_and_counted(make_sample, oracle):
    sample = make_sample((1, 1, 9, 4), (0, 0, 30, 20), (5, 5, 5, 5), crowd=[False, True, False])
    result = box_iou.run(FillBox(), [sample])
    assert (result.value, result.n) == (1.0, 1)
    assert result.skipped == {"crowd": 1, "empty": 1}
    assert point_iou.run(FillBox(), [sample]).n == 1


@pytest.mark.parametrize("suite", [box_iou, point_iou])
def test_photos_without_annotations_are_counted_as_photos_and_nothing_else(suite, make_sample):
    result = suite.run(FillBox(), [make_sample()])
    assert (result.value, result.n, result.standard_error, result.images) == (None, 0, None, 1)
    assert result.to_line().count("null") > 0
    assert suite.run(FillBox(), [make_sample(), make_sample((1, 1, 9, 4), key="b")]).n == 1


def test_size_goes_by_the_annotated_area_and_the_sizes_make_up_the_whole(make_sample):
    sample = make_sample((0, 0, 4, 4), (0, 0, 6, 4), (0, 0, 8, 4), areas=[1024, 1025, 10_000])
    result = BoxIou().run(FillBox(), [sample])
    assert {size: estimate.n for size, estimate in result.breakdown.items()} == {"small": 1, "medium": 1, "large": 1}


def test_an_empty_answer_scores_zero(make_sample):
    sample = make_sample((10, 4, 17, 11))
    nothing = rectangle(0, 0, 0, 0)
    assert point_iou.run(Script(*[nothing] * 9), [sample]).value == 0.0


def test_a_photo_with_many_objects_is_asked_in_groups_with_the_same_result(make_sample, monkeypatch):
    boxes = [(x, y, x + 2 + x % 3, y + 3) for x in range(0, 24, 4) for y in range(0, 15, 4)]
    sample = make_sample(*boxes)
    whole = [suite.run(FillBox(), [sample]) for suite in (box_iou, point_iou)]
    asked = []
    original = FillBox.predict

    def counting(self, *args, **kwargs):
        answer = original(self, *args, **kwargs)
        asked.append(len(answer.masks))
        return answer

    monkeypatch.setattr(FillBox, "predict", counting)
    monkeypatch.setattr(protocol, "MASK_PIXELS_PER_CALL", 5 * 3 * 20 * 30)
    assert [suite.run(FillBox(), [sample]) for suite in (box_iou, point_iou)] == whole
    assert max(asked) == 5


def test_a_real_decoder_gives_the_same_for_one_prompt_as_for_many(make_sample):
    class Stem(nn.Module):
        image_size = 256

        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Conv2d(3, 256, 16, stride=16)

        def forward(self, image):
            return self.project(image)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        sam = Sam(arch="stem", image_encoder=Stem(), image_size=256).eval()
    predictor = Predictor(sam)
    boxes = [(1, 1, 9, 4), (12, 3, 18, 17), (20, 2, 29, 18)]
    for suite in (box_iou, point_iou):
        together = suite.run(predictor, [make_sample(*boxes)])
        alone = suite.run(predictor, [make_sample(box, key=str(index)) for index, box in enumerate(boxes)])
        assert together.n == alone.n == 3
        assert together.value == pytest.approx(alone.value, abs=0.01)
        assert 0.0 <= together.value <= together.extra["oracle"].value <= 1.0 or suite is box_iou


def test_an_unknown_suite_gets_a_hint():
    assert get_suite("box") is box_iou
    with pytest.raises(InputError, match="did you mean point"):
        get_suite("points")
    with pytest.raises(InputError, match=r"seginw depends on the data; make it by choose_suites\(\['seginw'\]"):
        get_suite("seginw")


def test_a_suite_of_ones_own_is_found_by_name_and_no_name_twice(monkeypatch):
    monkeypatch.setattr(registry, "SUITES", dict(registry.SUITES))
    own, made = BoxIou(), PointIou(clicks=(2,))
    own.name, made.name = "own", "made"
    register_suite(own)
    register_suite_maker("made", lambda given: made if given.data == "here" else point_iou, about=ABOUT["point"])
    assert get_suite("own") is own and ready_suites()["own"] is own and "made" not in ready_suites()
    assert choose_suites(["made", "own", "box"], data="here") == [made, own, box_iou]
    for name in ("own", "made", "seginw", "agreement"):
        with pytest.raises(InputError, match=f"there is a suite called {name} already; give yours another name"):
            register_suite_maker(name, lambda given: own, about=ABOUT["box"])
    with pytest.raises(InputError, match=r"BoxIou is a class; expected a suite: register_suite\(BoxIou\(\)\)"):
        register_suite(BoxIou)


def test_agreement_without_a_reference_says_what_to_give():
    with pytest.raises(InputError, match="agreement_box needs a reference model's masks .* --reference"):
        choose_suites(["agreement"], data="here")


def test_the_protocol_names_the_clicks_it_reports():
    assert "click_2, click_3, click_5, click_9" in point_iou.protocol
    assert "click_2" not in PointIou(clicks=(9,)).protocol


def test_observations_that_were_changed_in_their_file_are_named():
    whole = Observation(key="a", ids=[3], areas=[9.0], values={"single": [0.5]})
    assert box_iou.groups([whole])["value"] == [[0.5]]
    for change in ({"areas": []}, {"values": {}}, {"values": {"single": [0.5, 0.6]}}):
        with pytest.raises(InputError, match="box: what was kept of photo a was changed, it has . values of single"):
            box_iou.groups([whole.model_copy(update=change)])
