"""Average precision worked out by hand: boxes on a 200 x 100 photo, off its diagonal, by both backends."""

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.samples.rle import encode_mask
from eval_zeroshot.ap.annotations import Annotations
from eval_zeroshot.ap.backends import BACKENDS, average_precision
from eval_zeroshot.ap.detections import Detections, checked_for, unknown_categories

WIDTH, HEIGHT = 200, 100
BIG, SMALL = (120, 20, 40, 30), (10, 70, 20, 20)  # xywh: 1200 px, medium; 400 px, small


def mask_of(box):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    return encode_mask(mask)


def thing(box, *, image=1, category=1, **facts):
    area = box[2] * box[3]
    known = {"image_id": image, "category_id": category, "bbox": list(box), "area": area, "segmentation": mask_of(box)}
    return known | {"iscrowd": 0} | facts


def found(box, score, *, image=1, category=1):
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


def truth_of(*things, images=1, categories=1, kind="coco", **notes):
    return Annotations(
        kind=kind,
        name="by hand",
        images=[{"id": id_, "height": HEIGHT, "width": WIDTH} | notes for id_ in range(1, images + 1)],
        annotations=[record | {"id": number} for number, record in enumerate(things)],
        categories=[{"id": id_, "frequency": "f"} for id_ in range(1, categories + 1)],
    )


@pytest.fixture(params=BACKENDS)
def scored(request):
    """Scores boxes, or masks where they are given, by one backend."""

    def score(truth, *records, iou_type="bbox"):
        if truth.kind == "lvis" and request.param == "reference":
            pytest.importorskip("lvis")
        detections = Detections(name="results", sha256="", records=list(records))
        checked = checked_for(truth, detections, iou_type=iou_type)
        return average_precision(truth, checked, iou_type=iou_type, backend=request.param)

    return score


def test_a_perfect_answer(scored):
    numbers = scored(truth_of(thing(BIG), thing(SMALL)), found(BIG, 0.3), found(SMALL, 0.9))
    assert [numbers[name] for name in ("AP", "APs", "APm", "AR100")] == pytest.approx([1.0] * 4)
    assert numbers["APl"] is None and numbers["ARl"] is None  # there is no large object
    assert numbers["AR1"] == pytest.approx(0.5)  # one detection of two objects


def test_swapped_axes_find_nothing(scored):
    x, y, width, height = BIG
    assert scored(truth_of(thing(BIG)), found((y, x, height, width), 0.9))["AP"] == 0.0


def test_an_overlap_of_07_passes_five_of_ten_thresholds(scored):
    # 28 of the 40 columns: IoU 0.7 passes 0.50 to 0.70
    numbers = scored(truth_of(thing(BIG)), found((120, 20, 28, 30), 0.9))
    assert (numbers["AP"], numbers["AP50"], numbers["AP75"]) == pytest.approx((0.5, 1.0, 0.0))


def test_a_duplicate_is_a_false_positive(scored):
    # In order: hit, duplicate, hit. Precision is 1 up to recall 0.5 (51 of 101 points), then 2 / 3.
    numbers = scored(truth_of(thing(BIG), thing(SMALL)), found(BIG, 0.9), found(BIG, 0.8), found(SMALL, 0.7))
    assert numbers["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert numbers["AR100"] == pytest.approx(1.0)


def test_a_crowd_neither_counts_nor_costs(scored):
    truth = truth_of(thing(BIG), thing((0, 0, 60, 100), iscrowd=1))
    inside = [found((5 * n, 10, 20, 20), 0.95) for n in range(3)]  # each wholly within the crowd: ignored, again and again
    numbers = scored(truth, *inside, found(BIG, 0.5))
    assert numbers["AP"] == pytest.approx(1.0)
    assert numbers["AR100"] == pytest.approx(1.0)  # of one object, not two


def test_a_photo_without_annotations_lowers_precision(scored):
    truth = truth_of(thing(BIG), images=2)
    assert scored(truth, found(BIG, 0.5), found(SMALL, 0.9, image=2))["AP"] == pytest.approx(0.5)
    assert scored(truth, found(BIG, 0.9), found(SMALL, 0.5, image=2))["AP"] == pytest.approx(1.0)


def test_a_photo_without_detections_lowers_recall(scored):
    numbers = scored(truth_of(thing(BIG), thing(BIG, image=2), images=2), found(BIG, 0.5))
    assert numbers["AP"] == pytest.approx(51 / 101)
    assert numbers["AR100"] == pytest.approx(0.5)


def test_a_category_without_objects_does_not_count_and_an_unfound_one_does(scored):
    truth = truth_of(thing(BIG), thing(SMALL, category=2), categories=3)
    assert scored(truth, found(BIG, 0.5), found(BIG, 0.9, category=3))["AP"] == pytest.approx(0.5)


def test_unknown_categories_do_not_count_but_are_told(scored):
    truth = truth_of(thing(BIG))
    records = [found(BIG, 0.5), found(BIG, 0.9, category=99)]
    assert scored(truth, *records)["AP"] == pytest.approx(1.0)
    assert unknown_categories(truth, records) == 1
    with pytest.raises(InputError, match="none of its detections has a category of by hand; it has category_id 99"):
        scored(truth, records[1])


def test_an_empty_mask_is_a_false_positive(scored):
    empty = {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": encode_mask(np.zeros((HEIGHT, WIDTH), bool))}
    right = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": mask_of(BIG)}
    assert scored(truth_of(thing(BIG)), empty, right, iou_type="segm")["AP"] == pytest.approx(0.5)


def test_a_box_beside_a_mask_does_not_decide_its_size(scored):
    # A mask of 400 px at the wrong place is a small false positive, whatever its box says; the object is medium.
    wrong = found((0, 0, 100, 100), 0.9) | {"segmentation": mask_of(SMALL)}
    right = found(BIG, 0.5) | {"segmentation": mask_of(BIG)}
    numbers = scored(truth_of(thing(BIG)), wrong, right, iou_type="segm")
    assert (numbers["AP"], numbers["APm"]) == pytest.approx((0.5, 1.0))


def test_a_mask_of_another_size_is_refused(scored):
    turned = {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": encode_mask(np.ones((WIDTH, HEIGHT), bool))}
    with pytest.raises(InputError, match=r"result 0, image 1: segmentation is of an image of \(200, 100\)"):
        scored(truth_of(thing(BIG)), turned, iou_type="segm")


def test_annotations_without_masks_allow_boxes_only(scored):
    bare = thing(BIG)
    del bare["segmentation"]
    assert scored(truth_of(bare), found(BIG, 0.5))["AP"] == pytest.approx(1.0)
    with pytest.raises(InputError, match="1 annotation without segmentation; it allows bbox AP only"):
        scored(truth_of(bare), found(BIG, 0.5) | {"segmentation": mask_of(BIG)}, iou_type="segm")


def test_an_annotation_of_id_0_can_be_matched(scored):
    # both packages take a match with id 0 for none; `truth_of` numbers from 0
    assert scored(truth_of(thing(BIG)), found(BIG, 0.5))["AP"] == pytest.approx(1.0)


def test_lvis_forgives_where_it_did_not_look(scored):
    notes = {"neg_category_ids": [3], "not_exhaustive_category_ids": [1]}
    truth = truth_of(thing(BIG), categories=3, kind="lvis", **notes)
    stray, elsewhere, absent = (found(SMALL, 0.9, category=category) for category in (1, 2, 3))
    right = found(BIG, 0.5)
    assert scored(truth, right, stray)["AP"] == pytest.approx(1.0)  # not all of category 1 are marked
    assert scored(truth, right, elsewhere)["AP"] == pytest.approx(1.0)  # nobody looked for category 2
    truth = truth_of(thing(BIG), thing(SMALL, category=3, image=2), images=2, categories=3, kind="lvis", **notes)
    # Category 3 is known to be absent from photo 1, so the detection there counts against the one on photo 2.
    numbers = scored(truth, right, absent, found(SMALL, 0.4, category=3, image=2))
    assert numbers["AP"] == pytest.approx((1.0 + 0.5) / 2)
    assert numbers["APf"] == numbers["AP"] and numbers["APr"] is None


@pytest.fixture
def lvis_of():
    """LVIS truth of one photo with a BIG object of category 1, none of 2 and 3; 2 was looked for, 3 was not."""

    def make(*things, images=1, **notes):
        federated = {"neg_category_ids": [2], "not_exhaustive_category_ids": []} | notes
        return truth_of(*(things or (thing(BIG),)), images=images, categories=3, kind="lvis", **federated)

    return make


def test_lvis_swapped_axes_find_nothing(scored, lvis_of):
    x, y, width, height = BIG
    assert scored(lvis_of(), found((y, x, height, width), 0.9))["AP"] == 0.0


def test_lvis_a_duplicate_is_a_false_positive(scored, lvis_of):
    # hit, duplicate, hit: 51 points of precision 1, 50 of 2 / 3
    truth = lvis_of(thing(BIG), thing(SMALL))
    numbers = scored(truth, found(BIG, 0.9), found(BIG, 0.8), found(SMALL, 0.7))
    assert numbers["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_lvis_a_photo_without_annotations_lowers_precision_where_it_was_looked_at(scored, lvis_of):
    stray = found(SMALL, 0.9, image=2)
    assert scored(lvis_of(images=2), found(BIG, 0.5), stray)["AP"] == pytest.approx(1.0)  # category 1 was not looked for there
    looked = lvis_of(images=2, neg_category_ids=[1, 2])
    assert scored(looked, found(BIG, 0.5), stray)["AP"] == pytest.approx(0.5)


def test_lvis_an_empty_mask_is_left_out_and_another_size_is_refused(scored, lvis_of):
    def mask(value, score, shape=(HEIGHT, WIDTH)):
        return {"image_id": 1, "category_id": 1, "score": score, "segmentation": encode_mask(np.full(shape, value))}

    right = mask(False, 0.5) | {"segmentation": mask_of(BIG)}
    # the lvis package drops results without an area, where pycocotools counts them as false
    assert scored(lvis_of(), mask(False, 0.9), right, iou_type="segm")["AP"] == pytest.approx(1.0)
    with pytest.raises(InputError, match=r"segmentation is of an image of \(200, 100\)"):
        scored(lvis_of(), mask(True, 0.9, (WIDTH, HEIGHT)), iou_type="segm")


def test_lvis_an_unknown_category_uses_up_a_place_of_the_300(scored, lvis_of):
    """As in the lvis package, the 300 best of a photo are taken before categories are looked at."""
    strangers = [found(SMALL, 0.9, category=99)] * 299
    assert scored(lvis_of(), *strangers, found(BIG, 0.5))["AP"] == pytest.approx(1.0)
    assert scored(lvis_of(), *strangers, strangers[0], found(BIG, 0.5))["AP"] == pytest.approx(0.0)


def test_where_lvis_looked_for_nothing_that_was_found_ap_is_0(scored, lvis_of):
    numbers = scored(lvis_of(), found(BIG, 0.9, category=3))
    assert (numbers["AP"], numbers["AR@300"]) == (0.0, 0.0)
