"""The saliency and anomaly suites: numbers worked out by hand on photos of 20 x 30, objects off the diagonal."""

from dataclasses import replace

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.predictor import Prediction
from encoders.samples.sample import Sample
from eval_zeroshot import FillBox, evaluate, get_suite, open_dataset
from eval_zeroshot.metrics.pixel_f1 import max_f1
from eval_zeroshot.predictors.baselines import fill_box
from eval_zeroshot.suites.saliency import mean_absolute_error
from tests.layouts import make_duts, make_mvtec, rectangle

PIXELS = 20 * 30
SALIENCY, ANOMALY = get_suite("saliency"), get_suite("anomaly")


class Sure(FillBox):
    """Fills boxes, the surer the farther left they begin: predicted IoU 1 - x0 / 100."""

    def predict(self, prompts, *, multimask=True):
        found = np.stack([fill_box(box, shape=self._shape) for box in prompts.boxes])[:, None]
        return Prediction(found, 1 - prompts.boxes[:, :1] / 100, np.zeros((len(prompts.boxes), 1, 1, 1), np.float32))


def test_mean_absolute_error_by_hand():
    truth = rectangle((4, 1, 7, 3))  # 6 pixels
    assert mean_absolute_error(rectangle((4, 1, 8, 3)), truth) == pytest.approx(2 / PIXELS)
    assert mean_absolute_error(np.full((20, 30), 0.25), truth) == pytest.approx((6 * 0.75 + 594 * 0.25) / PIXELS)
    with pytest.raises(ValueError, match="cannot be compared"):
        mean_absolute_error(truth.T, truth)


def test_saliency_of_a_filled_box_by_hand(tmp_path):
    hook = rectangle((10, 3, 16, 5)) | rectangle((10, 3, 12, 9))  # 12 + 8 pixels in a box of 6 x 6
    whole = rectangle((2, 12, 6, 15))  # 12 pixels, its own box
    data = open_dataset(make_duts(tmp_path, {"a": hook, "b": whole, "empty": np.zeros((20, 30), bool)}))
    (result,) = evaluate({"filled": FillBox()}, suites=[SALIENCY], samples=data)
    assert result.value == pytest.approx((16 + 0) / 2 / PIXELS)
    assert (result.n, result.images, result.direction) == (2, 3, "lower")
    assert result.skipped == {"photo where nothing stands out": 1}
    assert result.extra["box_iou"].value == pytest.approx((20 / 36 + 1) / 2)
    # 3 % of 30 pixels: the disc is the clicked pixel alone
    assert result.extra["click"].value == pytest.approx((19 + 11) / 2 / PIXELS)
    assert "oracle" in result.protocol and "cannot be compared" in result.protocol


def test_saliency_of_photos_that_do_not_say_what_stands_out_is_refused(make_sample):
    with pytest.raises(InputError, match=r"needs one mask a photo.* a has 2\. Give DUTS: unpack"):
        SALIENCY.run(FillBox(), [make_sample((1, 1, 4, 9), (5, 5, 9, 7))])


def test_the_best_threshold_by_hand():
    # At least .9: 2 of 4 called pixels are right, 5 there are: 4 / 9. At least .5: 5 of 7, 10 / 12. Everything: 10 / 101.
    groups = {"hits": np.asarray([3, 2]), "surplus": np.asarray([0, 2])}
    best = max_f1(np.asarray([0.5, 0.9]), **groups, positives=5, pixels=96)
    assert best == (pytest.approx(10 / 12), 0.5)
    # Groups of one score come together: neither 6 / 8 nor another order's 4 / 9 can be had.
    tied = max_f1(np.asarray([0.7, 0.7]), **groups, positives=5, pixels=96)
    assert tied == (pytest.approx(10 / 12), 0.7)


def test_without_masks_everything_is_called_anomalous_and_without_defects_there_is_no_f1():
    nothing = np.zeros(0)
    assert max_f1(nothing, hits=nothing, surplus=nothing, positives=6, pixels=18) == (pytest.approx(12 / 24), 0.0)
    assert max_f1(nothing, hits=nothing, surplus=nothing, positives=0, pixels=18) is None


def test_the_best_threshold_is_that_of_trying_all(make_sample):
    rng = np.random.default_rng(3)
    for _ in range(20):
        scores, truth = rng.choice([0, 0.2, 0.4, 0.9], (6, 8)), rng.random((6, 8)) < 0.3
        truth[0, 5] = True
        called = [scores >= threshold for threshold in np.unique(scores)]
        slow = max(2 * (mask & truth).sum() / (mask.sum() + truth.sum()) for mask in called)
        levels = np.unique(scores[scores > 0])
        hits = np.asarray([(truth & (scores == level)).sum() for level in levels])
        surplus = np.asarray([(~truth & (scores == level)).sum() for level in levels])
        best = max_f1(levels, hits=hits, surplus=surplus, positives=int(truth.sum()), pixels=48)
        assert best.f1 == pytest.approx(slow)


def test_anomaly_takes_the_best_threshold_of_a_category_and_the_mean_of_categories(tmp_path):
    corner = rectangle((2, 3, 6, 4)) | rectangle((2, 3, 3, 7))  # 4 + 3 pixels in a box of 4 x 4, predicted IoU .98
    bar = rectangle((20, 10, 28, 12))  # 16 pixels, its own box, predicted IoU .80
    photos = {"pill/scratch/000": corner, "pill/crack/000": bar, "pill/good/000": None, "metal_nut/bent/000": bar}
    data = open_dataset(make_mvtec(tmp_path, photos))
    result = ANOMALY.run(Sure(), data)
    # Pill, at least .98: 7 of 16 called, 23 there are, 14 / 39. At least .80: 23 of 32, 46 / 55. Metal nut: all right.
    assert result.extra["pill"].value == pytest.approx(46 / 55) and result.extra["metal_nut"].value == 1.0
    assert result.value == pytest.approx((46 / 55 + 1) / 2)
    assert result.extra["every_mask"].value == pytest.approx((46 / 55 + 1) / 2)
    assert (result.n, result.images, result.extra["pill"].n) == (2, 4, 3)
    assert "none on a good photo" in result.protocol


def test_the_threshold_leaves_out_a_mask_that_does_more_harm_than_good(tmp_path):
    bar = rectangle((3, 10, 11, 12))
    diagonal = np.zeros((20, 30), bool)
    diagonal[np.arange(12), np.arange(12) + 15] = True  # one region of 12 pixels, whose box has 144
    data = open_dataset(make_mvtec(tmp_path, {"pill/scratch/000": bar | diagonal}))
    result = ANOMALY.run(Sure(), data)
    assert result.value == pytest.approx(32 / (16 + 28))  # the bar alone, at least .97
    assert result.extra["every_mask"].value == pytest.approx(56 / (160 + 28))


def test_a_pixel_under_two_masks_has_the_higher_score(tmp_path):
    outer = rectangle((3, 2, 23, 12)) & ~rectangle((5, 4, 21, 10))  # a frame, whose filled box covers the bar within it
    bar = rectangle((8, 6, 16, 8))
    data = open_dataset(make_mvtec(tmp_path, {"pill/scratch/000": outer | bar}))
    model = Sure()
    model.set_image(data[0].image)
    seen = ANOMALY.observe(model, data[0])
    assert seen.values["predicted_iou"] == pytest.approx([0.97, 0.92])
    assert seen.values["score"] == pytest.approx([0.97])
    assert (seen.values["hits"], seen.values["surplus"]) == ([104 + 16], [200 - 104 - 16])


def test_good_photos_alone_have_no_f1(tmp_path):
    result = ANOMALY.run(Sure(), open_dataset(make_mvtec(tmp_path, {"pill/good/000": None})))
    assert (result.value, result.n, result.images) == (None, 0, 1)
    assert result.skipped == {"category without a defect": 1}


def test_anomaly_of_photos_without_a_category_is_refused(make_sample):
    with pytest.raises(InputError, match=r"photos with a category, a has none; give MVTec AD: unpack"):
        ANOMALY.run(Sure(), [make_sample((1, 1, 4, 9))])


def test_agreement_of_both_suites_is_measured_on_their_masks(tmp_path):
    class Half(FillBox):
        identity = "half"

        def predict(self, prompts, *, multimask=True):
            if prompts.boxes is not None:
                left = prompts.boxes - (prompts.boxes[:, 2:3] - prompts.boxes[:, :1]) / 2 * np.asarray([[0, 0, 1, 0]])
                prompts = replace(prompts, boxes=left)
            return super().predict(prompts, multimask=multimask)

    for suite, samples in (
        (SALIENCY, open_dataset(make_duts(tmp_path, {"a": rectangle((2, 12, 6, 15))}))),
        (ANOMALY, open_dataset(make_mvtec(tmp_path, {"pill/cut/0": rectangle((2, 12, 6, 15)), "pill/good/0": None}))),
    ):
        results = evaluate({"half": Half(), "whole": FillBox()}, suites=[suite], samples=samples, reference="whole")
        assert [(r.extra["agreement"].value, r.extra["agreement"].n) for r in results] == [(0.5, 1), (1.0, 1)]


def test_a_sample_without_masks_is_a_good_photo():
    image = np.zeros((20, 30, 3), np.uint8)
    seen = ANOMALY.observe(Sure(), Sample(key="pill-good-1", image=image, meta={"category": "pill"}))
    assert (seen.ids, seen.values["positives"], seen.values["pixels"]) == ([], [0.0], [600.0])


class Unequal(Sure):
    """One mask that fills the box; of three the first is sure and wrong, and the predicted IoU may be 0."""

    iou = 0.8

    def predict(self, prompts, *, multimask=True):
        if prompts.boxes is None:
            return FillBox.predict(self, prompts, multimask=multimask)
        found = super().predict(prompts, multimask=multimask)
        if not multimask:
            return Prediction(found.masks, np.full_like(found.scores, self.iou), found.logits)
        three = np.repeat(found.masks, 3, axis=1)
        three[:, 0] = False
        return Prediction(three, np.tile([0.9, 0.1, 0.1], (len(prompts), 1)), np.zeros((len(prompts), 3, 1, 1), np.float32))


def test_a_box_is_asked_for_the_single_mask(tmp_path):
    thing = rectangle((2, 12, 6, 15))
    assert SALIENCY.run(Unequal(), open_dataset(make_duts(tmp_path, {"a": thing}))).value == 0.0
    assert ANOMALY.run(Unequal(), open_dataset(make_mvtec(tmp_path, {"pill/cut/0": thing}))).value == 1.0


def test_a_mask_of_no_predicted_iou_is_still_more_than_none(tmp_path):
    class Hopeless(Unequal):
        iou = -0.2

    data = open_dataset(make_mvtec(tmp_path, {"pill/cut/0": rectangle((2, 12, 6, 15))}))
    assert ANOMALY.run(Hopeless(), data).value == 1.0


def test_defects_asked_in_groups_keep_their_masks_and_scores(tmp_path, monkeypatch):
    defects = [(2, 3, 6, 4), (12, 10, 20, 12), (24, 15, 28, 19)]  # predicted IoU .98, .88, .76
    truth = rectangle(defects[0]) | rectangle(defects[1]) | rectangle(defects[2])
    (sample,) = open_dataset(make_mvtec(tmp_path, {"pill/cut/0": truth}))
    model = Sure()
    model.set_image(sample.image)
    whole = ANOMALY.observe(model, sample)
    assert whole.values["predicted_iou"] == pytest.approx([0.98, 0.88, 0.76])
    monkeypatch.setattr("eval_zeroshot.predictors.protocol.MASK_PIXELS_PER_CALL", 2 * 3 * PIXELS)
    assert ANOMALY.observe(model, sample) == whole


def test_photos_that_mark_nothing_at_all_and_turned_answers_are_refused(make_sample, tmp_path):
    with pytest.raises(InputError, match="needs one mask a photo.* a has 0"):
        SALIENCY.run(FillBox(), [make_sample()])

    class Turned(Sure):
        def predict(self, prompts, *, multimask=True):
            found = super().predict(prompts, multimask=multimask)
            return Prediction(found.masks.transpose(0, 1, 3, 2), found.scores, found.logits)

    data = open_dataset(make_mvtec(tmp_path, {"pill/cut/0": rectangle((2, 12, 6, 15))}))
    with pytest.raises(InputError, match="30, 20"):
        ANOMALY.run(Turned(), data)
