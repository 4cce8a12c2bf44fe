"""Agreement with a reference model on photos without annotations."""

import numpy as np
import pytest

import encoders
from encoders.errors import InputError
from encoders.predictor import Prediction
from encoders.samples.rle import encode_mask
from eval_zeroshot import FillBox, compare, evaluate
from eval_zeroshot.datasets.opening import EvalDataset
from eval_zeroshot.predictors.reference import OwnPhoto, Reference, ReferencedPhotos, sample_of
from eval_zeroshot.predictors.reference_masks import PointsAndBoxes, answer
from eval_zeroshot.results.observations import Observation
from eval_zeroshot.suites.registry import choose_suites

SHAPE = (60, 100)  # height, width


class Halves:
    """Left of column 50 it answers clicks with rows 10-29 of columns 10-39, right of it with nothing; a box with its left half.

    Its second mask of three is the most confident; the others cover the photo.
    """

    def set_image(self, image):
        self.images = getattr(self, "images", 0) + 1

    def predict(self, prompts, *, multimask=True):
        count = len(prompts.points if prompts.boxes is None else prompts.boxes)
        found = np.ones((count, 3 if multimask else 1, *SHAPE), bool)
        wanted = found[:, 1] if multimask else found[:, 0]
        wanted[:] = False
        for row in range(count):
            if prompts.boxes is not None:
                x0, y0, x1, y1 = (int(value) for value in prompts.boxes[row])
                wanted[row, y0:y1, x0 : (x0 + x1) // 2] = True
            elif prompts.points[row, 0, 0] < 50:
                wanted[row, 10:30, 10:40] = True
        scores = np.tile(np.asarray([0.2, 0.9, 0.3] if multimask else [0.5], np.float32), (count, 1))
        return Prediction(found, scores, np.zeros((count, found.shape[1], 1, 1), np.float32))


class Photos(list):
    given_prompts = False


def photo(key="a", **facts):
    return OwnPhoto(key=key, image=np.full((*SHAPE, 3), 9, np.uint8), **facts)


def referenced(*photos, predictor=None, name="halves", state=None, identity="halves, weights 0123"):
    predictor = predictor or Halves()
    reference = Reference(name=name, identity=identity, image_size=64, open=lambda: predictor)
    return ReferencedPhotos(Photos(photos or [photo()]), reference=reference, name="mine", state=state)


def run(photos, models, names=("agreement",), **more):
    suites = choose_suites(names, data="mine", photos=photos)
    results = evaluate(models, suites=suites, samples=EvalDataset(photos, name=photos.name), **more)
    return {result.suite: result for result in results}


def test_a_grid_of_points_gives_each_of_the_references_masks_once():
    found = answer(Halves(), shape=SHAPE)
    assert found.prompts.points.tolist() == [[100 / 16, 60 / 16]]  # the grid's first; 31 more give the same mask, 32 none
    assert found.prompts.boxes.tolist() == [[10, 10, 40, 30]]
    assert len(found.of_points) == len(found.of_boxes) == 1


def test_numbers_by_hand():
    results = run(referenced(), {"filled": FillBox()})
    box, point = results["agreement_box"], results["agreement_point"]
    assert (box.value, box.n) == (0.5, 1)  # the reference's left half of a filled box
    assert {size: estimate.n for size, estimate in box.breakdown.items()} == {"small": 1, "medium": 0, "large": 0}  # 300 pixels
    assert point.value < 0.1 and point.n == 1  # a disc of radius 3 around (6.25, 3.75) hardly meets rows 10-29
    assert (box.reference, point.reference, box.extra.get("agreement")) == ("halves", "halves", None)


def test_the_reference_agrees_with_itself_wholly():
    predictor = encoders.Predictor(encoders.load("sam_demo", image_size=64))
    image = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)
    photos = referenced(OwnPhoto(key="a", image=image), predictor=predictor)
    results = run(photos, {"same": predictor})
    assert all(result.value == 1 and result.n > 3 for result in results.values())


def test_prompts_whose_reference_mask_is_empty_are_counted_and_left_out():
    boxes = np.asarray([[10.0, 10, 40, 30], [60, 10, 90, 30]])
    given = PointsAndBoxes(points=np.asarray([[20.0, 20.0], [80.0, 20.0]]), boxes=boxes)
    photos = referenced(photo(prompts=given))
    results = run(photos, {"same": Halves()})
    assert (results["agreement_point"].n, results["agreement_point"].skipped) == (1, {"empty": 1})
    assert (results["agreement_box"].n, results["agreement_box"].skipped) == (2, {"empty": 0})


def test_intervals_over_photos_are_there(tmp_path):
    photos = referenced(photo("a"), photo("b"), photo("c"))
    result = run(photos, {"filled": FillBox()}, ["agreement_box"])["agreement_box"]
    assert (result.images, result.low, result.high, result.breakdown["small"].low) == (3, 0.5, 0.5, 0.5)


def test_the_references_answers_are_kept_and_another_run_does_not_open_it(tmp_path):
    first = referenced(photo("a"), photo("b"), state=tmp_path)
    expected = run(first, {"filled": FillBox()}, state=tmp_path)
    first.close()
    again = referenced(photo("a"), photo("b"), state=tmp_path)
    again.reference = Reference(**vars(again.reference) | {"open": None})
    assert run(again, {"filled": FillBox()}, state=tmp_path) == expected
    again.close()


def test_a_photo_that_has_changed_is_asked_about_again(tmp_path):
    first = referenced(state=tmp_path)
    first[0]
    first.close()
    predictor = Halves()
    other = referenced(OwnPhoto(key="a", image=np.zeros((*SHAPE, 3), np.uint8)), predictor=predictor, state=tmp_path)
    other[0]
    other.close()
    assert predictor.images == 1


def test_two_references_never_share_a_table():
    one = run(referenced(), {"filled": FillBox()}, ["agreement_box"])
    other = run(referenced(identity="halves, weights 4567"), {"filled": FillBox()}, ["agreement_box"])
    groups = compare([*one.values(), *other.values()], published=False).groups
    assert [len(group.results) for group in groups] == [1, 1]
    assert {"0123" in group.protocol for group in groups} == {True, False}
    assert groups[0].unit == "prompts"


def test_suites_that_need_annotations_are_refused_beside_it():
    with pytest.raises(InputError, match="box needs annotations.*by two calls, with the same --out"):
        choose_suites(["agreement", "box"], data="mine", photos=referenced())
    names = [suite.name for suite in choose_suites(["agreement_point", "agreement"], data="mine", photos=referenced())]
    assert names == ["agreement_point", "agreement_box"]


@pytest.mark.parametrize("lost", ["masks", "values", "x0"])
def test_answers_that_were_changed_in_their_file_are_named(lost):
    whole = {name: [1.0, 2.0] for name in ("x0", "y0", "x1", "y1")}
    seen = Observation(key="a", ids=[0, 1], values=whole, masks=[encode_mask(np.ones(SHAPE, bool))] * 2)
    assert len(sample_of(photo(), seen).masks) == 2
    kept = {name: its for name, its in whole.items() if name != lost}
    changes = {"masks": {"masks": seen.masks[:1]}, "values": {"values": {name: [1.0] for name in whole}}}
    damaged = seen.model_copy(update=changes.get(lost, {"values": kept}))
    with pytest.raises(InputError, match="about photo a was changed: not one mask for each point and box; delete"):
        sample_of(photo(), damaged)
