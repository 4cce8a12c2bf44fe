"""Our average precision against the packages': known answers, random cases, real annotations."""

import re
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.errors import InputError, MissingExtra
from encoders.samples.rle import decode_segmentation, encode_mask
from eval_zeroshot.ap.annotations import Annotations, read_annotations
from eval_zeroshot.ap.backends import BACKENDS, COCO_NAMES, LVIS_NAMES, average_precision
from eval_zeroshot.ap.detections import checked_for, iou_type_of, read_detections

HEIGHT, WIDTH = 120, 170  # room for an object of more than 96 x 96 pixels


def both(truth, results, *, iou_type):
    fast, reference = (average_precision(truth, results, iou_type=iou_type, backend=backend) for backend in BACKENDS)
    assert list(fast) == list(reference)
    return fast, reference


def published(text, kind):
    """The twelve numbers that the file prints under `type=KIND`, in its order."""
    part = text.split(f"type={kind}\n")[1].split("-----")[0]
    return [float(number) for number in re.findall(r"\] = (-?[\d.]+)", part)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_the_published_numbers_of_cocos_example_to_three_digits(shared_data, kind, backend):
    folder = shared_data / "known_answers"
    truth = read_annotations(folder / "instances_val2014_100.json")
    found = read_detections(folder / f"instances_val2014_fake{kind}100_results.json")
    assert iou_type_of(found.records) == kind
    numbers = average_precision(truth, checked_for(truth, found, iou_type=kind), iou_type=kind, backend=backend)
    expected = published((folder / "val2014_fake_eval_res.txt").read_text(), kind)
    assert len(expected) == 12 and tuple(numbers) == COCO_NAMES
    assert [round(number, 3) for number in numbers.values()] == expected


def test_a_real_detectors_boxes_score_alike_even_with_broken_ones(coco_val):
    truth = read_annotations(coco_val / "instances.json")
    found = read_detections(coco_val / "yolox_nano_boxes.json")  # seven boxes have no size and lie 1e16 px away
    assert iou_type_of(found.records) == "bbox"  # though `loadRes` left the boxes' corners in it as polygons
    fast, reference = both(truth, checked_for(truth, found, iou_type="bbox"), iou_type="bbox")
    assert fast == reference
    assert fast["AP"] == pytest.approx(0.2576, abs=5e-5)  # plain pycocotools on these two files


def random_records(rng, *, images, categories, lvis):
    """Objects and detections from few places and few scores, so that ties, crowds and all sizes occur."""

    def shape():
        width, height = rng.choice([8, 30, 32, 60, 96, 110]), rng.choice([8, 30, 32, 60, 96])
        x, y = rng.integers(0, WIDTH - width), rng.integers(0, HEIGHT - height)
        return int(x), int(y), int(width), int(height)

    def mask(box):
        drawn = np.zeros((HEIGHT, WIDTH), bool)
        drawn[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
        return encode_mask(drawn & (rng.random(drawn.shape) < rng.choice([0.9, 1])))

    # Objects 1 and 3 px apart compete for the same detections; 32 x 32 and 96 x 96 are the ends of the size ranges.
    x, y, *sides = shape()
    places = [(x, y, *sides), (x + 1, y, *sides), (x, max(0, y - 3), *sides), shape(), (2, 1, 32, 32), (70, 20, 96, 96)]
    objects, found = [], []
    for image in range(1, images + 1):
        for number in range(rng.integers(0, 7)):
            box = places[rng.integers(len(places))]
            record = {"image_id": image, "category_id": int(rng.integers(1, categories + 1)), "bbox": list(box), "id": number}
            crowd = {} if lvis else {"iscrowd": int(rng.random() < 0.2)}
            objects.append(record | crowd | {"segmentation": mask(box), "area": box[2] * box[3] * float(rng.choice([0.7, 1]))})
            if lvis and rng.random() < 0.1:
                objects[-1]["ignore"] = 1
        for _ in range(rng.integers(0, 25)):
            x, y, width, height = places[rng.integers(len(places))]
            dx, dy = rng.choice([0, 0, 1, 4], 2)
            box = (x + int(dx), y + int(dy), width, height)
            known = {"image_id": image, "category_id": int(rng.integers(1, categories + 2))}  # one category is unknown
            score = float(rng.choice([0.1, 0.3, 0.3, 0.9, rng.random()]))
            found.append(known | {"score": score, "bbox": list(box), "segmentation": mask(box)})
    return objects, found


def random_case(seed, *, lvis):
    rng = np.random.default_rng(seed)
    images, categories = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    objects, found = random_records(rng, images=images, categories=categories, lvis=lvis)
    found.append(
        {
            "image_id": 1,
            "category_id": 1,
            "score": 0.5,
            "bbox": [3, 4, 20, 10],
            "segmentation": encode_mask(np.eye(HEIGHT, WIDTH) > 0),
        }
    )

    def some_categories():
        return [int(id_) for id_ in rng.permutation(categories)[: rng.integers(0, categories + 1)] + 1]

    notes = {"neg_category_ids": some_categories, "not_exhaustive_category_ids": some_categories} if lvis else {}
    return (
        Annotations(
            kind="lvis" if lvis else "coco",
            name="random",
            images=[
                {"id": id_, "height": HEIGHT, "width": WIDTH} | {name: draw() for name, draw in notes.items()}
                for id_ in (rng.permutation(images) + 1).tolist()
            ],
            annotations=objects,
            categories=[{"id": id_, "frequency": "rcf"[int(rng.integers(3))]} for id_ in range(1, categories + 1)],
        ),
        found,
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), iou_type=st.sampled_from(["segm", "bbox"]))
def test_random_cases_equal_pycocotools(seed, iou_type):
    truth, found = random_case(seed, lvis=False)
    drop = "bbox" if iou_type == "segm" else "segmentation"
    fast, reference = both(truth, [{k: v for k, v in record.items() if k != drop} for record in found], iou_type=iou_type)
    assert fast == pytest.approx(reference, abs=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), iou_type=st.sampled_from(["segm", "bbox"]))
def test_random_cases_equal_lvis(seed, iou_type):
    pytest.importorskip("lvis")
    truth, found = random_case(seed, lvis=True)
    drop = "bbox" if iou_type == "segm" else "segmentation"
    fast, reference = both(truth, [{k: v for k, v in record.items() if k != drop} for record in found], iou_type=iou_type)
    assert fast == pytest.approx(reference, abs=1e-9)


@pytest.mark.parametrize("most", [1, 10, 100])
def test_only_the_best_hundred_of_a_category_count_and_the_best_of_equals_is_the_first(most):
    truth, _ = random_case(5, lvis=False)
    rng = np.random.default_rng(most)
    box = truth.annotations[0]
    scores = rng.choice([0.2, 0.5, 0.9], most + 30)
    found = [
        {"image_id": box["image_id"], "category_id": box["category_id"], "score": float(score)}
        | {"bbox": [box["bbox"][0] + int(rng.integers(0, 9)), *box["bbox"][1:]]}
        for score in scores
    ]
    fast, reference = both(truth, found, iou_type="bbox")
    assert fast == reference


def jittered(truth):
    """Masks of the truth, moved by up to 4 px, of random scores, a fifth of another category; too many on one photo."""
    rng = np.random.default_rng(0)
    shapes = {image["id"]: (image["height"], image["width"]) for image in truth.images}
    categories = [category["id"] for category in truth.categories]
    crowded = truth.annotations[0]["image_id"]
    found = []
    for annotation in truth.annotations:
        mask = decode_segmentation(annotation["segmentation"], shape=shapes[annotation["image_id"]])
        for _ in range(90 if annotation["image_id"] == crowded else rng.integers(0, 6)):
            moved = np.roll(mask, rng.integers(-4, 5, 2), axis=(0, 1))
            category = annotation["category_id"] if rng.random() < 0.8 else int(rng.choice(categories))
            known = {"image_id": annotation["image_id"], "category_id": category, "score": round(float(rng.random()), 2)}
            found.append(known | {"segmentation": encode_mask(moved)})
    assert max(Counter(record["image_id"] for record in found).values()) > 300
    return found


@pytest.mark.parametrize("iou_type", ["segm", pytest.param("bbox", marks=pytest.mark.slow)])
def test_all_thirteen_numbers_of_lvis_on_real_annotations(shared_data, iou_type):
    """About 5 s each."""
    pytest.importorskip("lvis")
    truth = read_annotations(shared_data / "lvis_val_100" / "lvis_val_100.json")
    assert truth.kind == "lvis"
    fast, reference = both(truth, jittered(truth), iou_type=iou_type)
    assert tuple(fast) == LVIS_NAMES and None not in fast.values()
    assert fast == pytest.approx(reference, abs=1e-6)


def test_lvis_works_on_this_numpy_and_numpy_stays_as_it_is():
    lvis_eval = pytest.importorskip("lvis.eval")
    before, method = set(vars(np)), lvis_eval.LVISEval.accumulate
    truth, found = random_case(7, lvis=True)
    average_precision(truth, [{k: v for k, v in f.items() if k != "bbox"} for f in found], iou_type="segm", backend="reference")
    assert set(vars(np)) == before and lvis_eval.np is np and lvis_eval.LVISEval.accumulate is method


def test_without_the_lvis_package_only_the_reference_is_missing(monkeypatch):
    for name in ("lvis", "lvis.eval"):
        monkeypatch.setitem(sys.modules, name, None)
    truth, found = random_case(7, lvis=True)
    results = [{k: v for k, v in record.items() if k != "bbox"} for record in found]
    assert tuple(average_precision(truth, results, iou_type="segm")) == LVIS_NAMES
    with pytest.raises(MissingExtra, match=r"lvis.* is not installed; install it with: pip install 'repvit-sam\[eval\]'"):
        average_precision(truth, results, iou_type="segm", backend="reference")


def test_scoring_leaves_truth_and_results_as_they_were():
    truth, found = random_case(3, lvis=False)
    results = [{k: v for k, v in record.items() if k != "bbox"} for record in found]
    kept = repr((truth, results))
    both(truth, results, iou_type="segm")
    assert repr((truth, results)) == kept


def test_an_unknown_backend_is_refused():
    truth, found = random_case(3, lvis=False)
    with pytest.raises(InputError, match="'quick'; expected fast or reference"):
        average_precision(truth, found, iou_type="bbox", backend="quick")
