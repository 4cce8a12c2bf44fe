import numpy as np
import pytest

from encoders.errors import InputError
from encoders.predictor import Prediction
from eval_zeroshot import Estimate, FillBox, Result, box_iou, evaluate
from eval_zeroshot.results.statistics import interval, photo_weights, resampled_means, with_intervals


def weights_of(photos: int, **options) -> np.ndarray:
    return np.concatenate(list(photo_weights(photos, **options)))


def test_a_draw_has_as_many_photos_as_there_are_and_each_as_often_as_another():
    weights = weights_of(7, resamples=4000)
    assert weights.shape == (4000, 7)
    assert (weights.sum(axis=1) == 7).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.06)  # a count of variance 6/7: 4 standard errors are 0.059


def test_draws_depend_on_the_seed_and_not_on_the_size_of_blocks(monkeypatch):
    whole = weights_of(5, resamples=50, seed=3)
    monkeypatch.setattr("eval_zeroshot.results.statistics.BLOCK_NUMBERS", 5 * 50)
    np.testing.assert_array_equal(weights_of(5, resamples=50, seed=3), whole)
    assert (weights_of(5, resamples=50, seed=4) != whole).any()


def test_objects_of_a_photo_are_drawn_together():
    # photos with objects (1.0, 0.0), (0.4), none; draws: each once; the first twice and the third; the third three times
    weights = np.asarray([[1, 1, 1], [2, 0, 1], [0, 0, 3]])
    means = resampled_means([[1.0, 0.0], [0.4], []], weights=weights)
    np.testing.assert_allclose(means, [1.4 / 3, 2 / 4, np.nan])


def test_the_interval_of_numbers_in_a_row():
    # of 0, 1, ... 1000 the middle 95 % lie between the 25th and the 975th
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert interval(np.asarray([np.nan, 2.0, np.nan])) == (2.0, 2.0)
    assert interval(np.asarray([np.nan])) == (None, None)


def test_the_interval_of_one_object_a_photo_is_that_of_the_standard_error():
    values = np.random.default_rng(0).uniform(size=(400, 1))
    low, high = interval(resampled_means(values.tolist(), weights=weights_of(400, resamples=4000)))
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_equal_objects_of_a_photo_make_it_no_surer():
    values = np.random.default_rng(0).uniform(size=100)
    weights = weights_of(100)
    one, ten = (interval(resampled_means([[v] * k for v in values], weights=weights)) for k in (1, 10))
    assert one == pytest.approx(ten)


def test_an_interval_goes_to_the_number_of_its_name():
    result = Result(
        suite="s", version="1", protocol="p", model="m", dataset="d", value=0.5, n=4,
        breakdown={"small": Estimate(value=0.1, n=1)}, extra={"oracle": Estimate(value=0.9, n=4), "ece": Estimate(value=0.2,
        n=4)},
    )  # fmt: skip
    wide = with_intervals(result, {"value": np.full(9, 0.4), "size small": np.full(9, 0.2), "oracle": np.full(9, 0.8)})
    assert (wide.low, wide.high) == (0.4, 0.4)
    assert wide.breakdown["small"].low == 0.2
    assert wide.extra["oracle"].high == 0.8
    assert wide.extra["ece"].low is None


class Shifted(FillBox):
    """A filled box moved to the right."""

    role = "student"

    def __init__(self, pixels: int = 1) -> None:
        super().__init__()
        self.pixels = pixels

    def predict(self, prompts, *, multimask=True):
        found = super().predict(prompts, multimask=multimask)
        return Prediction(np.roll(found.masks, self.pixels, axis=-1), found.scores, found.logits)


@pytest.fixture
def samples(make_sample):
    """Four photos of one object, 2, 4, 6 and 8 px wide."""
    return [make_sample((3, 2, 3 + width, 8), key=str(width), mark=width) for width in (2, 4, 6, 8)]


def test_a_difference_is_paired(samples):
    mine, theirs = evaluate({"far": Shifted(), "exact": FillBox()}, suites=[box_iou], samples=samples, against="exact")
    # moved by 1: overlap w - 1, union w + 1: 1/3, 3/5, 5/7, 7/9; the filled box has 1 everywhere
    ious = np.asarray([1 / 3, 3 / 5, 5 / 7, 7 / 9])
    assert mine.against == "exact"
    assert mine.difference.value == pytest.approx(ious.mean() - 1)
    assert mine.difference.n == 4
    assert mine.difference.low == pytest.approx(mine.low - 1) and mine.difference.high == pytest.approx(mine.high - 1)
    assert ious.min() <= mine.low < mine.value < mine.high <= ious.max()
    assert theirs.against is None and theirs.difference is None
    assert (theirs.low, theirs.high) == (1.0, 1.0)


def test_models_that_answer_alike_differ_by_nothing_however_unsure_each_is(samples):
    first, _ = evaluate({"a": Shifted(), "b": Shifted()}, suites=[box_iou], samples=samples, against="b", reference="b")
    gap = first.difference
    assert (gap.value, gap.low, gap.high, gap.standard_error) == (0, 0, 0, 0)
    assert first.high - first.low > 0.1
    assert (first.extra["agreement"].low, first.extra["agreement"].high) == (1.0, 1.0)


def test_one_photo_has_no_interval(samples):
    (result,) = evaluate({"far": Shifted()}, suites=[box_iou], samples=samples[:1])
    assert (result.low, result.high) == (None, None)
    assert result.value == pytest.approx(1 / 3)


def test_the_same_call_gives_the_same_interval(samples):
    runs = [evaluate({"far": Shifted(), "exact": FillBox()}, suites=[box_iou], samples=samples, against="exact") for _ in "ab"]
    assert runs[0] == runs[1]


def test_an_unknown_model_to_compare_against_gets_a_hint(samples):
    with pytest.raises(InputError, match="did you mean exact"):
        evaluate({"exact": FillBox()}, suites=[box_iou], samples=samples, against="exakt")
