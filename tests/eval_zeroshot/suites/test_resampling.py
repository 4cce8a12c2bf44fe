"""Numbers of draws: a draw of photos gives what a data set of just these photos, as often as drawn, would give."""

import numpy as np
import pytest

from encoders.predictor import Prediction
from eval_zeroshot import FillBox, choose_suites, evaluate, get_suite, open_dataset
from eval_zeroshot.suites import tracking
from eval_zeroshot.suites.base import Resamples
from eval_zeroshot.suites.detector_boxes.instance import InstanceAp
from eval_zeroshot.suites.registry import ready_suites
from tests.layouts import make_davis, make_duts, make_mvtec, make_seginw, rectangle

HOOK = rectangle((10, 3, 16, 5)) | rectangle((10, 3, 12, 9))  # 20 pixels of a box of 36
BAR, CORNER = rectangle((20, 10, 28, 12)), rectangle((2, 3, 6, 4)) | rectangle((2, 3, 3, 7))
DRAWS = np.asarray([[1, 1, 1], [2, 0, 1], [0, 3, 0], [0, 1, 2]])


def copies(observations, often, *, rename="{key}"):
    return [
        seen.model_copy(update={"key": rename.format(key=seen.key, copy=copy)})
        for seen, times in zip(observations, often, strict=True)
        for copy in range(times)
    ]


def observed(suite, samples, *, model=None):
    model, found = model or FillBox(), []
    for sample in samples:
        model.set_image(sample.image)
        found.append(suite.observe(model, sample))
    return found


def assert_draws_are_data_sets(suite, observations, weights, *, copied=copies):
    drawn = suite.resample(observations, weights=weights, reference=observations)
    for row, often in enumerate(weights):
        same = copied(observations, often)
        result = suite.summarise(same, model="m", dataset="d", reference=("m", same))
        assert drawn["value"][row] == pytest.approx(result.value, nan_ok=True)
        for name in set(drawn) & set(result.extra):
            value = result.extra[name].value
            assert drawn[name][row] == pytest.approx(np.nan if value is None else value, nan_ok=True), name
    assert np.ptp(drawn["value"]) > 0  # or the test could not tell draws apart
    return drawn


def test_every_suite_has_intervals():
    assert [name for name, suite in ready_suites().items() if not isinstance(suite, Resamples)] == []
    assert isinstance(InstanceAp, Resamples)


def test_draws_of_saliency(tmp_path):
    photos = open_dataset(make_duts(tmp_path, {"a": HOOK, "b": BAR, "c": CORNER}))
    suite = get_suite("saliency")
    drawn = assert_draws_are_data_sets(suite, observed(suite, photos), DRAWS)
    assert drawn["value"][:2] == pytest.approx([(16 + 0 + 9) / 3 / 600, (2 * 16 + 9) / 3 / 600])


def test_draws_of_anomaly_leave_out_a_category_without_a_defect(tmp_path):
    layout = {"pill/scratch/000": CORNER, "pill/good/000": None, "metal_nut/bent/000": HOOK}
    suite = get_suite("anomaly")
    photos = open_dataset(make_mvtec(tmp_path, layout))
    nut, defect, good = (
        next(n for n, sample in enumerate(photos) if part in sample.key) for part in ("nut", "scratch", "good")
    )
    weights = np.zeros((5, 3), int)
    for row, often in enumerate([(1, 1, 1), (2, 0, 1), (0, 2, 1), (3, 0, 0), (1, 2, 0)]):  # nuts, defects, good pills
        weights[row, [nut, defect, good]] = often
    drawn = assert_draws_are_data_sets(suite, observed(suite, photos), weights)
    # 20 of 36 called pixels of the nut are right: 40 / 56. Of the pill's 16 it is 7: 14 / 23.
    assert drawn["metal_nut"][[0, 1]] == pytest.approx([40 / 56, 40 / 56])
    assert drawn["value"][[0, 1, 2]] == pytest.approx([(40 / 56 + 14 / 23) / 2, 40 / 56, 14 / 23])
    assert np.isnan(drawn["pill"]).tolist() == [False, True, False, True, False]


def test_draws_of_seginw_are_of_photos_and_means_of_data_sets(tmp_path):
    data, boxes = make_seginw(tmp_path, {"Puppies": {"a.jpg": [BAR], "b.jpg": [HOOK]}, "Rail": {"c.jpg": [HOOK]}})
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    weights = np.asarray([[1, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1]])
    drawn = assert_draws_are_data_sets(suite, observed(suite, open_dataset(data)), weights)
    assert drawn["value"][1:] == pytest.approx([0.2, (1 + 0.2) / 2, 0.2])  # a hook is right at 2 of the 10 thresholds


def test_a_video_is_drawn_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "BOX_MARGIN", 0.05)  # less than half a pixel: a filled box stays what it is
    still, other = rectangle((5, 6, 13, 10)), rectangle((20, 2, 28, 8))
    jump = [still, rectangle((16, 12, 24, 16)), rectangle((16, 12, 24, 16))]
    sequences = {"long": [1 * still + 2 * other] * 4, "short": [1 * frame for frame in jump], "still": [1 * still] * 5}
    suite, photos = get_suite("video"), open_dataset(make_davis(tmp_path, sequences))
    seen = {}
    model = FillBox()
    for sample in photos:
        model.set_image(sample.image)
        seen[sample.key] = suite.observe_following(model, sample, before=seen.get(suite.predecessor(sample) or ""))
    names = [suite.unit(key) for key in seen]
    weights = DRAWS[:, [sorted(sequences).index(name) for name in names]]

    def copied(observations, often):
        return copies(observations, often, rename="again_{copy}_{key}")

    drawn = assert_draws_are_data_sets(suite, list(seen.values()), weights, copied=copied)
    assert drawn["value"].tolist() == pytest.approx([3 / 4, 1, 0, 2 / 3])  # of long's two objects, short's and still's
    (result,) = evaluate({"filled": FillBox()}, suites=[suite], samples=photos)
    assert result.low is not None and result.low <= result.value <= result.high
    (one,) = evaluate({"filled": FillBox()}, suites=[suite], samples=open_dataset(tmp_path / "DAVIS", limit=4))
    assert (one.images, one.low) == (4, None)  # a single video has no interval, however many frames it has


class AlwaysBar(FillBox):
    """Answers every click with the bar."""

    def predict(self, prompts, *, multimask=True):
        found = super().predict(prompts, multimask=multimask)
        return Prediction(np.broadcast_to(BAR, found.masks.shape), found.scores, found.logits)


def test_draws_of_everything(make_sample):
    bar, corner = (20, 10, 28, 12), (2, 3, 6, 4)
    photos = [make_sample(corner, key="a"), make_sample(corner, bar, key="b"), make_sample(key="c")]
    suite = get_suite("everything")
    drawn = assert_draws_are_data_sets(suite, observed(suite, photos, model=AlwaysBar()), DRAWS)
    assert drawn["value"] == pytest.approx([1 / 3, 0, 1 / 2, 1 / 2])
    assert set(drawn) >= {"value", "AR100", "best_iou", "size small", "agreement"}
