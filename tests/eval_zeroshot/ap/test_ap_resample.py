import json

import numpy as np
import pytest

from eval_zeroshot import average_precision
from eval_zeroshot.ap.annotations import Annotations, read_annotations
from eval_zeroshot.ap.detections import read_detections
from eval_zeroshot.ap.resample import resampled_ap


def box(image: int, x: int, *, category: int = 1, **facts) -> dict:
    """A 10 x 4 px box at (x, 3)."""
    return {"image_id": image, "category_id": category, "bbox": [x, 3, 10, 4], "area": 40, **facts}


@pytest.fixture
def truth() -> Annotations:
    """Photos 4, 7 and 9 of 60 x 20 px; two objects on 4, one on 7, one of another category on 9."""
    images = [{"id": id_, "height": 20, "width": 60} for id_ in (4, 7, 9)]
    annotations = [box(4, 0, id=1), box(4, 20, id=2), box(7, 5, id=3), box(9, 5, id=4, category=2)]
    return Annotations(
        kind="coco", name="t", images=images, annotations=annotations, categories=[{"id": 1, "name": "a"}, {"id": 2, "name":
        "b"}]
    )


@pytest.fixture
def results() -> list[dict]:
    """A hit and a miss on photo 4, a hit on 7, a miss that scores higher than the hit on 9."""
    found = [box(4, 0, score=0.9), box(4, 40, score=0.8), box(7, 5, score=0.7)]
    return [*found, box(9, 30, score=0.6, category=2), box(9, 5, score=0.5, category=2)]


def draw(truth, results, *weights) -> dict[str, np.ndarray]:
    return resampled_ap(truth, results, iou_type="bbox", image_ids=[4, 7, 9], weights=np.asarray(weights))


def test_each_photo_once_is_the_ap_of_all(truth, results):
    whole = average_precision(truth, results, iou_type="bbox")
    drawn = draw(truth, results, [1, 1, 1])
    assert drawn["value"][0] == pytest.approx(whole["AP"], abs=1e-12)
    assert drawn["AP50"][0] == pytest.approx(whole["AP50"], abs=1e-12)
    assert drawn["AP75"][0] == pytest.approx(whole["AP75"], abs=1e-12)


def test_photos_left_out_are_as_if_they_were_not_there(truth, results):
    drawn = draw(truth, results, [1, 1, 0], [0, 0, 1], [0, 1, 0])
    # photo 9 alone: its miss comes first, precision 1/2 at every recall; photo 7 alone: 1
    assert drawn["value"][1:].tolist() == pytest.approx([0.5, 1.0], abs=1e-12)
    pair = average_precision(truth.of_images([4, 7]), results[:3], iou_type="bbox")
    assert drawn["value"][0] == pytest.approx(pair["AP"], abs=1e-12)


def test_a_photo_drawn_twice_counts_as_two(truth, results):
    twin = [image | {"id": 70} for image in truth.images if image["id"] == 7]
    doubled = Annotations(
        kind="coco", name="t", images=[*truth.images, *twin], categories=truth.categories,
        annotations=[*truth.annotations, box(70, 5, id=30)],
    )  # fmt: skip
    whole = average_precision(doubled, [*results, box(70, 5, score=0.7)], iou_type="bbox")
    assert draw(truth, results, [1, 2, 1])["value"][0] == pytest.approx(whole["AP"], abs=1e-12)


def test_draws_in_groups_are_the_same(truth, results, monkeypatch):
    weights = np.random.default_rng(0).integers(0, 3, (20, 3))
    whole = draw(truth, results, *weights)["value"]
    monkeypatch.setattr("eval_zeroshot.ap.resample.NUMBERS_AT_A_TIME", 1)
    np.testing.assert_array_equal(draw(truth, results, *weights)["value"], whole)


def test_a_draw_without_an_object_has_no_ap(truth, results):
    bare = Annotations(
        kind="coco", name="t", images=truth.images, categories=truth.categories, annotations=truth.annotations[:3]
    )
    assert np.isnan(draw(bare, results, [0, 0, 3])["value"]).all()


def test_real_boxes_of_a_real_detector(coco_val):
    truth = read_annotations(coco_val / "instances.json")
    found = read_detections(coco_val / "yolox_nano_boxes.json").records
    known = {image["id"] for image in truth.images}
    found = [record for record in found if record["image_id"] in known]
    ids = [image["id"] for image in truth.images]
    half = np.zeros((2, len(ids)), np.int64)
    half[0], half[1, ::2] = 1, 1
    drawn = resampled_ap(truth, found, iou_type="bbox", image_ids=ids, weights=half)
    some = set(ids[::2])
    expected = [
        average_precision(truth, found, iou_type="bbox")["AP"],
        average_precision(truth.of_images(some), [r for r in found if r["image_id"] in some], iou_type="bbox")["AP"],
    ]
    assert drawn["value"].tolist() == pytest.approx(expected, abs=1e-9)


def test_lvis_counts_by_its_own_rules(shared_data):
    path = shared_data / "lvis_val_100" / "lvis_val_100.json"
    truth = read_annotations(path)
    random = np.random.default_rng(0)
    found = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": float(random.random())}
        for a in json.loads(path.read_text())["annotations"]
        if random.random() < 0.7
    ]
    found = [record | {"bbox": [record["bbox"][0] + 2, *record["bbox"][1:]]} for record in found]
    ids = [image["id"] for image in truth.images]
    drawn = resampled_ap(truth, found, iou_type="bbox", image_ids=ids, weights=np.ones((1, len(ids)), np.int64))
    assert drawn["value"][0] == pytest.approx(average_precision(truth, found, iou_type="bbox")["AP"], abs=1e-9)
