"""Everything mode: which points are asked, what a budget gives, and the suite from a predictor to its result."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import encoders
from encoders.errors import InputError
from encoders.predictor import Prediction
from encoders.samples.rle import encode_mask
from eval_zeroshot import evaluate
from eval_zeroshot.predictors.baselines import FillBox
from eval_zeroshot.suites.everything import MaskGenerator, MaskSettings
from eval_zeroshot.suites.everything.candidates import Candidate, photo_stability
from eval_zeroshot.suites.everything.generator import explore
from eval_zeroshot.suites.everything.order import PointOrder, coarse_to_fine
from eval_zeroshot.suites.everything.regions import without_small_regions
from eval_zeroshot.suites.everything.suite import Everything, best
from eval_zeroshot.suites.registry import get_suite

NO_FILTER = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


class KnowsBlocks:
    """Answers a click with the block of a photo that it lies in, and remembers the clicks; logits are 1 x 1: none."""

    identity = "blocks"

    def __init__(self, masks, *, scores=(0.95, 0.9, 0.3)):
        self.masks, self.scores, self.clicks = masks, np.float32(scores), []

    def set_image(self, image, /):
        pass

    def predict(self, prompts, *, multimask=True):
        assert multimask and prompts.points.shape[1] == 1 and (prompts.labels == 1).all()
        self.clicks += prompts.points[:, 0].tolist()
        found = np.zeros((len(prompts.points), 3, *self.masks[0].shape), bool)
        for answer, (x, y) in zip(found, prompts.points[:, 0].astype(int), strict=True):
            for mask in self.masks:
                if mask[y, x]:
                    answer[:] = mask
        return Prediction(found, np.tile(self.scores, (len(prompts), 1)), np.zeros((len(prompts), 3, 1, 1), np.float32))


def block(shape, x0, y0, x1, y1):
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_every_beginning_of_the_order_is_a_grid():
    order = coarse_to_fine(8)
    assert sorted(order.tolist()) == list(range(64))
    for count, step in ((4, 4), (16, 2)):
        rows, columns = np.divmod(order[:count], 8)
        for places in (rows, columns):
            found = np.unique(places)
            assert (len(found), set(np.diff(found))) == (8 // step, {step})
    assert sorted(coarse_to_fine(5).tolist()) == list(range(25))
    assert coarse_to_fine(1).tolist() == [0]


def test_stability_by_hand():
    flat = np.stack([np.full((2, 2), value, np.float32) for value in (2.0, 0.5, -0.5, -2.0)])
    assert photo_stability(flat, shape=(8, 8), offset=1.0).tolist() == [1, 0, 0, 0]
    # 16 logits from -4 to 4 over a 64 x 64 photo: pixel i of a row has ((i + 0.5) / 4 - 0.5) 8 / 15 - 4, so pixels from 40
    # on are above 1.1 and those from 24 on above -1.1; with 0.25 it is 34 and 30
    ramp = np.tile(np.linspace(-4, 4, 16, dtype=np.float32), (1, 16, 1))
    assert photo_stability(ramp, shape=(64, 64), offset=1.1)[0] == pytest.approx(24 / 40)
    assert photo_stability(ramp, shape=(64, 64), offset=0.25)[0] == pytest.approx(30 / 34)
    assert photo_stability(np.zeros((2, 1, 1), np.float32), shape=(5, 9), offset=1.0).tolist() == [1, 1]


def test_a_block_is_one_record_with_its_numbers():
    shape = (40, 64)
    predictor = KnowsBlocks([block(shape, 20, 4, 50, 14)])
    (record,) = MaskGenerator(predictor, settings=MaskSettings(points_per_side=8)).generate(np.zeros((*shape, 3), np.uint8))
    assert coco_mask.decode(record["segmentation"]).astype(bool).tolist() == predictor.masks[0].tolist()
    assert (record["area"], record["bbox"]) == (300, [20, 4, 29, 9])  # width and height less 1, as SA-1B has them
    assert record["predicted_iou"] == pytest.approx(0.95) and record["stability_score"] == 1
    assert record["point_coords"] == [[20, 7.5]]  # the first point of the grid on it; cells are 8 wide and 5 high
    assert record["crop_box"] == [0, 0, 64, 40]
    assert len(predictor.clicks) == 64


def test_nothing_good_enough_gives_no_record():
    predictor = KnowsBlocks([block((40, 64), 20, 4, 50, 14)], scores=(0.88, 0.5, 0.1))
    assert MaskGenerator(predictor, settings=MaskSettings(points_per_side=8)).generate(np.zeros((40, 64, 3), np.uint8)) == []


def test_explained_points_are_asked_last():
    shape = (64, 128)
    wall = block(shape, 0, 0, 128, 64)
    wall[40:44, 100:108] = False  # a small thing on the wall, between the points of a coarse grid
    thing = block(shape, 100, 40, 108, 44)
    predictor = KnowsBlocks([wall, thing])
    settings = MaskSettings(points_per_side=32)
    found = explore(predictor, shape=shape, settings=settings)
    assert sorted(found.asked.tolist()) == list(range(1024))  # each point once
    on_thing = [place for place, point in enumerate(found.asked) if thing[2 * (point // 32) + 1, 4 * (point % 32) + 2]]
    assert 0 < len(on_thing) <= 4 and max(on_thing) < 128


def test_a_budget_asks_so_many_points_and_gives_what_the_whole_grid_gave_for_them():
    sam = encoders.load("sam_demo", image_size=128)
    image = np.random.default_rng(0).integers(0, 255, (70, 110, 3), dtype=np.uint8)
    predictor = encoders.Predictor(sam)
    predictor.set_image(image)
    settings = MaskSettings(points_per_side=10, **NO_FILTER)
    whole = explore(predictor, shape=(70, 110), settings=settings)
    for budget in (1, 33, 70, 5000):
        fewer = explore(predictor, shape=(70, 110), settings=settings, budget=budget)
        simulated = whole.first(budget)
        assert len(fewer.asked) == min(budget, 100)
        assert fewer.asked.tolist() == simulated.asked.tolist()
        assert len(fewer.candidates) == len(simulated.candidates)
        for real, lookup in zip(fewer.candidates, simulated.candidates, strict=True):
            assert (real.point, real.box) == (lookup.point, lookup.box)
            assert (real.score, real.stability) == pytest.approx((lookup.score, lookup.stability), abs=1e-5)


def test_the_suite_finds_what_the_predictor_knows(make_sample):
    sample = make_sample((2, 3, 12, 9), (15, 10, 28, 18), key="a", crowd=[0, 0])
    nothing = make_sample(key="empty")
    predictor = KnowsBlocks(sample.masks[:1])
    suite = Everything(name="everything_8", settings=MaskSettings(points_per_side=8))
    (result,) = evaluate({"blocks": predictor}, suites=[suite], samples=[sample, nothing])
    assert (result.value, result.n, result.images) == (0.5, 2, 2)
    assert result.breakdown["small"].value == 0.5 and result.breakdown["large"].n == 0
    extra = {name: estimate.value for name, estimate in result.extra.items()}
    assert (extra["proposals"], extra["points"], extra["AR100"], extra["best_iou"]) == (1, 64, 0.5, 0.5)
    assert {"AR_32_points", "AR_16_points", "AR_8_points"} <= extra.keys()
    assert len(predictor.clicks) == 64  # the photo without objects is not asked about, and budgets ask nothing more


def test_crowds_and_empty_objects_are_no_objects(make_sample):
    """A crowd that is found, an object that is found, one that is not, one without a pixel."""
    boxes = [(1, 1, 9, 8), (2, 10, 12, 17), (15, 10, 28, 18), (4, 4, 4, 4)]
    sample = make_sample(*boxes, key="a", crowd=[1, 0, 0, 0], annotation_ids=[31, 32, 33, 34])
    suite = Everything(settings=MaskSettings(points_per_side=8))
    model = KnowsBlocks(sample.masks[:2])
    (result,) = evaluate({"blocks": model}, suites=[suite], samples=[sample])
    assert (result.value, result.n) == (0.5, 2)
    assert result.skipped == {"crowd": 1, "empty": 1}
    assert suite.counted_ids(sample) == [32, 33] and suite.observe(model, sample).ids == [32, 33]
    only_crowd = make_sample(boxes[0], key="b", crowd=[1])
    assert evaluate({"blocks": model}, suites=[suite], samples=[only_crowd])[0].value is None


def test_only_the_thousand_best_masks_count(make_sample):
    sample = make_sample((2, 3, 12, 9), (15, 8, 28, 18))
    less, sure = (replace(a_candidate(mask), stability=one) for mask, one in zip(sample.masks, (0.2, 0.9), strict=True))
    kept = best([less] * 700 + [sure] * 600)
    assert (len(kept), kept[599], kept[600]) == (1000, sure.rle, less.rle)


def test_masks_of_another_size_than_the_photo_are_told(make_sample):
    class Turned(FillBox):
        def predict(self, prompts, *, multimask=True):
            found = np.ones((len(prompts.points), 3, 30, 20), bool)
            return Prediction(found, np.ones(found.shape[:2]), np.zeros((*found.shape[:2], 1, 1)))

    with pytest.raises(InputError, match="30, 20"):
        Everything(settings=MaskSettings(points_per_side=4)).run(Turned(), [make_sample((3, 2, 12, 9))])


def a_candidate(mask):
    return Candidate(point=0, rle=encode_mask(mask), box=(0, 0, 1, 1), area=1, score=0.5, stability=1, covers=np.array([]))


def test_agreement_is_of_the_masks_nearest_to_each_object(make_sample):
    sample = make_sample((2, 3, 12, 9), (15, 10, 28, 18), key="a")
    suite = Everything(settings=MaskSettings(points_per_side=8))
    one, both = (KnowsBlocks(sample.masks[:count]) for count in (1, 2))
    results = evaluate({"one": one, "both": both}, suites=[suite], samples=[sample], reference="both")
    assert [result.extra["agreement"].value for result in results] == [0.5, 1.0]


def test_a_predictor_without_logits_is_measured_too(make_sample):
    sample = make_sample((2, 3, 12, 9), key="a")
    result = Everything(settings=MaskSettings(points_per_side=4)).run(FillBox(), [sample])
    assert result.extra["proposals"].value > 1


def test_small_regions_by_hand():
    mask = block((20, 30), 4, 3, 20, 15)
    mask[6:8, 6:8] = False  # a hole of 4
    mask[10:14, 10:14] = False  # one of 16
    mask[18, 26:29] = True  # a piece of 3
    cleaned, changed = without_small_regions(mask, min_pixels=5)
    wanted = block((20, 30), 4, 3, 20, 15)
    wanted[10:14, 10:14] = False
    assert changed and cleaned.tolist() == wanted.tolist()
    again, changed = without_small_regions(cleaned, min_pixels=5)
    assert not changed and again.tolist() == wanted.tolist()
    few = block((20, 30), 1, 1, 3, 2) | block((20, 30), 9, 9, 12, 10)  # only small pieces: the largest stays
    assert without_small_regions(few, min_pixels=50)[0].tolist() == block((20, 30), 9, 9, 12, 10).tolist()


def test_protocols_say_what_was_asked():
    assert get_suite("everything").settings == MaskSettings(points_per_side=64, box_nms_thresh=0.9, **NO_FILTER)
    assert "64 x 64" in get_suite("everything").protocol and "no filter" in get_suite("everything").protocol
    assert get_suite("everything_32").settings == MaskSettings()
    assert "predicted IoU > 0.88" in get_suite("everything_32").protocol


@pytest.mark.parametrize("wrong", [{"points_per_side": 0}, {"box_nms_thresh": 1.5}, {"min_mask_region_area": -1}])
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(InputError, match="expected|give 1"):
        MaskSettings(**wrong)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match="budget of 0 points"):
        explore(KnowsBlocks([]), shape=(4, 6), settings=MaskSettings(), budget=0)


def test_the_order_gives_each_point_once():
    order = PointOrder(3)
    assert sorted([*order.take(4), *order.take(100)]) == list(range(9))
    assert len(order.take(1)) == 0
