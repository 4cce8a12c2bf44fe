"""Average recall of proposals: worked out by hand, and number for number pycocotools'."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from encoders.samples.coco import CocoDataset, file_name
from encoders.samples.rle import encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot.suites.everything.candidates import Candidate
from eval_zeroshot.suites.everything.recall import frequency_groups, matched_shares, size_groups
from eval_zeroshot.suites.everything.suite import _Truth, best


def test_shares_by_hand():
    # The best proposal overlaps both objects: .72 of the first and .61 of the second. Up to .7 it takes the first; the
    # next one then has the second with .58. Nothing else does, so .5 and .55 count for the second, .5 to .7 for the first.
    ious = np.array([[0.72, 0.61], [0.0, 0.58], [0.3, 0.49]])
    both, none = np.ones((1, 2), bool), np.zeros(2, bool)
    assert matched_shares(ious, groups=both, crowd=none)[0].tolist() == [0.5, 0.2]
    # with the second alone as truth, the first proposal is free for it: .5, .55 and .6
    alone = np.array([[False, True]])
    assert matched_shares(ious, groups=alone, crowd=none)[0].tolist() == pytest.approx([0, 0.3])


def test_a_crowd_counts_nowhere_and_nothing_is_found_by_no_proposal():
    ious = np.array([[0.9, 0.8]])
    assert matched_shares(ious, groups=np.ones((1, 2), bool), crowd=np.array([True, False]))[0].tolist() == [
        0,
        pytest.approx(0.7),
    ]
    assert matched_shares(np.zeros((0, 2)), groups=np.ones((1, 2), bool), crowd=np.zeros(2, bool)).tolist() == [[0, 0]]


def test_an_object_at_the_end_of_a_size_belongs_to_both():
    groups = size_groups(np.array([1024.0, 9216.0, 1025.0]))
    assert {name: group.tolist() for name, group in groups.items()} == {
        "all": [True, True, True],
        "small": [True, False, False],
        "medium": [True, True, True],
        "large": [False, True, False],
    }


def test_lvis_letters():
    groups = frequency_groups(["f", "r", "c", "f"])
    assert {name: group.tolist() for name, group in groups.items()} == {
        "rare": [False, True, False, False],
        "common": [False, False, True, False],
        "frequent": [True, False, False, True],
    }


def official(truth, results, *, most):
    """AR of all, small, medium and large objects, all of one category, by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.params.useCats = 0
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval["recall"]  # (thresholds, categories, areas, maxDets)
    return [float(recall[:, :, area, 0].mean()) for area in range(4)]


def proposals_like(masks, shape, rng, *, count):
    """Objects shifted, grown or cut, and blocks of nothing, with scores that repeat."""
    found = []
    for _ in range(count):
        mask = np.zeros(shape, bool)
        if len(masks) and rng.random() < 0.8:
            mask = np.roll(masks[rng.integers(len(masks))], rng.integers(-4, 5, 2), axis=(0, 1))
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        mask[row : row + rng.integers(1, 40), column : column + rng.integers(1, 40)] ^= True
        if mask.any():
            found.append(candidate(mask, score=float(np.round(rng.random(), 1)), stability=float(np.round(rng.random(), 1))))
    return found


def candidate(mask, *, score, stability=1.0):
    return Candidate(
        point=0, rle=encode_mask(mask), box=(0, 0, 1, 1), area=1, score=score, stability=stability, covers=np.array([])
    )


@pytest.mark.parametrize("most", [5, 1000])
def test_real_objects_give_pycocotools_numbers(coco_val, most):
    """Sizes, crowds, photos without objects, ties in the score, and more proposals than may be used."""
    dataset, rng = CocoDataset(coco_val / "instances.json"), np.random.default_rng(0)
    numbers: dict[str, list[float]] = {name: [] for name in ("recall", "small", "medium", "large")}
    truth = {"images": dataset.records, "categories": [{"id": 1, "name": "object"}], "annotations": []}
    results = []
    crowded = [i for i in range(len(dataset)) if any(a["iscrowd"] for a in dataset.instances(i))]
    for index in dict.fromkeys([*range(0, 24, 2), *crowded[:4]]):
        sample = dataset[index]
        found = proposals_like(sample.masks, sample.shape, rng, count=60)
        for one in found:
            score = (one.score + one.stability) / 2
            results.append({"image_id": sample.meta["image_id"], "category_id": 1, "segmentation": one.rle, "score": score})
        truth["annotations"] += [a | {"category_id": 1} for a in dataset.instances(index)]
        if any(mask.any() for mask in sample.masks):
            for name, values in _Truth(sample).values(best(found, most=most)).items():
                if name in numbers:
                    numbers[name] += values
    for annotation in truth["annotations"]:
        annotation["area"] = float(np.float32(annotation["area"]))  # as samples have it
    wanted = official(truth, results, most=most)
    assert [np.mean(values) for values in numbers.values()] == pytest.approx(wanted, abs=1e-12)
    assert 0.05 < wanted[0] < 0.95


def test_objects_of_lvis_know_how_frequent_their_category_is(shared_data, tmp_path):
    folder = shared_data / "lvis_val_100"
    content = json.loads((folder / "lvis_val_100.json").read_text())
    photos = {path.name for path in (folder / "images").iterdir()}
    for record in content["images"]:
        del record["file_name"]  # LVIS v1 has none, only coco_url
    content["images"] = [record for record in content["images"] if file_name(record) in photos]
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    sample = CocoDataset(tmp_path / "lvis.json", images=folder / "images")[0]
    letters = {category["id"]: category["frequency"] for category in content["categories"]}
    assert sample.meta["frequencies"] == [letters[category] for category in sample.category_ids]
    values = _Truth(sample).values([])
    assert values["recall"] == [0] * len(sample.masks)
    assert sum(len(values[name]) for name in ("rare", "common", "frequent")) == len(sample.masks) > 0


def test_made_up_objects_give_pycocotools_numbers():
    rng = np.random.default_rng(1)
    masks = [np.zeros((50, 80), bool) for _ in range(3)]
    masks[0][5:20, 60:70] = True
    masks[1][10:45, 2:50] = True
    masks[2][12:30, 55:75] = True
    sample = Sample(key="a", image=np.zeros((50, 80, 3), np.uint8), masks=masks, boxes=np.zeros((3, 4)), crowd=[0, 0, 1])
    found = proposals_like(masks, (50, 80), rng, count=30)
    annotations = [
        {"id": i + 1, "image_id": 1, "category_id": 1, "iscrowd": int(i == 2), "area": int(mask.sum())}
        | {"segmentation": encode_mask(mask), "bbox": [0, 0, 1, 1]}
        for i, mask in enumerate(masks)
    ]
    truth = {"images": [{"id": 1, "height": 50, "width": 80}], "categories": [{"id": 1}], "annotations": annotations}
    results = [
        {"image_id": 1, "category_id": 1, "segmentation": one.rle, "score": (one.score + one.stability) / 2} for one in found
    ]
    values = _Truth(sample).values(best(found))
    assert np.mean(values["recall"]) == pytest.approx(official(truth, results, most=1000)[0], abs=1e-12)
    assert (len(values["recall"]), len(values["small"]), len(values["medium"]), values["large"]) == (2, 1, 1, [])
