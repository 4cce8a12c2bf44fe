import numpy as np
import pytest
import torch
from segment_anything.utils.amg import calculate_stability_score

from encoders.predictor import Prediction
from eval_zeroshot import FillBox, box_iou, point_iou
from eval_zeroshot.metrics.calibration import expected_calibration_error, predicted_iou_and_stability
from eval_zeroshot.metrics.stability import stability_scores
from eval_zeroshot.suites.everything.candidates import photo_stability


def test_the_calibration_error_by_hand():
    # bin 0.8-0.9: predicted .82 and .88, true .5 and .7: off by .25 on average, half of the objects
    # bin 0.2-0.3: predicted .25, true .35: off by .1; bin 0.9-1.0: predicted 1.0, true .9: off by .1; a quarter each
    predicted, true = [0.82, 0.25, 0.88, 1.0], [0.5, 0.35, 0.7, 0.9]
    assert expected_calibration_error(predicted, true) == pytest.approx(0.5 * 0.25 + 0.25 * 0.1 + 0.25 * 0.1)


def test_errors_within_a_bin_cancel_and_between_bins_do_not():
    assert expected_calibration_error([0.61, 0.69], [0.69, 0.61]) == pytest.approx(0)
    assert expected_calibration_error([0.6, 0.8], [0.8, 0.6]) == pytest.approx(0.2)


def test_predictions_beyond_one_and_below_zero_count_as_these():
    assert expected_calibration_error([1.3, -0.2], [1.0, 0.0]) == 0
    assert expected_calibration_error([], []) is None


def test_stability_by_hand_inside_the_photo():
    # a photo twice as wide as high covers the upper 2 rows of a 4 x 4 frame; what is below is padding
    logits = np.asarray([[2.0, 1.5, 0.0, -3.0], [1.1, 0.9, -0.9, -1.0], [9.0] * 4, [9.0] * 4])
    # above 1: 2.0, 1.5, 1.1; above -1: those, 0.0, 0.9 and -0.9 (-1.0 is not above): 3 / 6
    assert predicted_iou_and_stability(np.ones(1), logits[None], shape=(10, 20))["stability"] == pytest.approx(3 / 6)


def test_stability_is_segment_anythings_where_the_photo_fills_the_frame():
    logits = np.random.default_rng(0).normal(scale=2, size=(5, 3, 16, 16)).astype(np.float32)
    theirs = calculate_stability_score(torch.from_numpy(logits), 0.0, 1.0).numpy()
    np.testing.assert_allclose(stability_scores(torch.from_numpy(logits), of_empty=0), theirs, rtol=1e-6)


def test_what_an_empty_mask_scores_is_said_by_who_asks():
    logits = torch.tensor([-5.0, 0.0, 5.0])[:, None, None].expand(3, 4, 6)
    assert stability_scores(logits, of_empty=1.0).tolist() == [1, 0, 1]  # the lower cut of the second one has all its pixels
    assert stability_scores(logits, of_empty=0.0).tolist() == [0, 0, 1]


def test_a_mask_that_is_surely_empty_is_stable_and_no_candidate():
    empty = np.full((1, 8, 8), -5.0, np.float32)
    empty.setflags(write=False)  # as some predictors give them
    assert predicted_iou_and_stability(np.ones(1), empty, shape=(3, 8))["stability"] == 1.0
    assert photo_stability(empty.copy(), shape=(12, 32), offset=1.0) == 0.0


def test_a_predictor_without_logits_has_nothing_to_say():
    assert predicted_iou_and_stability(np.ones(2), np.zeros((2, 1, 1)), shape=(4, 6)) == {}


class Boastful(FillBox):
    """Says 0.95 of every single mask and 0.1, 0.7, 0.2 of three; its logits are 5 in the upper left quarter of the frame."""

    def predict(self, prompts, *, multimask=True):
        found = super().predict(prompts, multimask=multimask)
        scores = np.tile([0.1, 0.7, 0.2] if multimask else [0.95], (len(found.masks), 1))
        logits = np.full((*scores.shape, 8, 8), -5.0, np.float32)
        logits[..., :4, :4] = 5
        return Prediction(found.masks, scores, logits)


def test_box_and_point_report_what_the_model_says_of_the_mask_that_counts(make_sample):
    sample = make_sample((10, 4, 20, 8))
    box = box_iou.run(Boastful(), [sample])
    assert box.value == 1.0
    assert box.extra["predicted_iou"].value == pytest.approx(0.95)
    assert box.extra["ece"].value == pytest.approx(0.05)
    assert box.extra["stability"].value == 1.0
    point = point_iou.run(Boastful(), [sample])
    assert point.extra["predicted_iou"].value == pytest.approx(0.7)
    assert point.extra["ece"].value == pytest.approx(abs(0.7 - point.value))


def test_baselines_without_logits_report_no_calibration(make_sample):
    result = box_iou.run(FillBox(), [make_sample((10, 4, 20, 8))])
    assert not {"ece", "stability", "predicted_iou"} & set(result.extra)
