"""The SegInW suite: each data set's AP and their mean by hand. Photos are 20 x 30, objects off the diagonal."""

import json

import pytest

from encoders.errors import InputError
from eval_zeroshot import FillBox, choose_suites, evaluate, open_dataset
from tests.layouts import make_seginw, rectangle

SMALL, WIDE = rectangle((3, 2, 7, 12)), rectangle((15, 4, 24, 9))
HOOK = rectangle((10, 3, 16, 5)) | rectangle((10, 3, 12, 9))  # 20 pixels of a box of 36


@pytest.fixture
def seginw(tmp_path):
    """Three data sets, two of them with a photo of one name."""
    return make_seginw(
        tmp_path,
        {"Puppies": {"a.rf.0.jpg": [SMALL, WIDE], "b.jpg": [SMALL]}, "Hand": {"a.rf.0.jpg": [HOOK]}, "Rail": {"c.jpg": [HOOK]}},
    )


def rewrite(path, change):
    path.write_text(json.dumps([record | change(record) for record in json.loads(path.read_text())]))


def test_the_mean_of_the_data_sets_ap_by_hand(seginw):
    data, boxes = seginw
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    (result,) = evaluate({"filled": FillBox()}, suites=[suite], samples=open_dataset(data))
    # Puppies: filled boxes are right. The hooks overlap theirs by 20 / 36 = 0.556: right at 2 of the 10 thresholds.
    aps = {name: result.extra[name].value for name in ("Puppies", "Hand", "Rail")}
    assert aps == {"Puppies": pytest.approx(1.0), "Hand": pytest.approx(0.2), "Rail": pytest.approx(0.2)}
    assert result.value == pytest.approx((1 + 0.2 + 0.2) / 3)
    assert result.extra["AP50"].value == pytest.approx(1) and result.extra["AP75"].value == pytest.approx(1 / 3)
    assert (result.n, result.images, result.extra["Puppies"].n) == (3, 4, 3)
    assert (result.suite, result.dataset, result.detector) == ("seginw", "SegInW Hand, Puppies, Rail", "boxes")
    assert "stated: the 100 best boxes of Grounding DINO" in result.protocol and "inferred:" in result.protocol


def test_a_limit_measures_the_data_sets_that_were_shown(seginw):
    data, boxes = seginw
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    result = suite.run(FillBox(), open_dataset(data, limit=2))
    assert (result.n, result.images) == (2, 2) and result.value == pytest.approx((0.2 + 1) / 2)
    assert result.extra["Puppies"].n == 2


def test_only_the_hundred_best_boxes_of_a_photo_are_asked_about(seginw):
    data, boxes = seginw
    records = json.loads((boxes / "Hand.json").read_text())
    (boxes / "Hand.json").write_text(json.dumps(records + [records[0] | {"score": 0.1, "bbox": [0, 0, 2, 2]}] * 120))
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    sample = open_dataset(data)[0]
    assert len(suite.counted_ids(sample)) == 100
    model = FillBox()
    model.set_image(sample.image)
    assert suite.observe(model, sample).skipped["box over the limit"] == 21


def test_other_boxes_are_another_protocol_and_agreement_is_over_all_boxes(seginw):
    data, boxes = seginw
    (first,) = choose_suites(["seginw"], data=data, boxes=boxes)
    results = evaluate({"m": FillBox(), "n": FillBox()}, suites=[first], samples=open_dataset(data), reference="n")
    assert (results[0].extra["agreement"].value, results[0].extra["agreement"].n) == (1.0, 5)
    rewrite(boxes / "Rail.json", lambda record: {"score": 0.8})
    (second,) = choose_suites(["seginw"], data=data, boxes=boxes)
    assert first.protocol != second.protocol


def test_what_is_missing_is_told(seginw, tmp_path, make_sample):
    data, boxes = seginw
    with pytest.raises(InputError, match=r"needs a detector's boxes, none are given; give by --boxes a folder .* NAME\.json"):
        choose_suites(["seginw"], data=data)
    with pytest.raises(InputError, match=r"needs SegInW's data sets, .*has none\. SegInW: unpack seginw\.zip"):
        choose_suites(["seginw"], data=tmp_path / "elsewhere", boxes=boxes)
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    with pytest.raises(InputError, match="photo a is of none of Hand, Puppies, Rail"):
        suite.counted_ids(make_sample((1, 1, 5, 4)))
    (boxes / "Rail.json").unlink()
    with pytest.raises(InputError, match=r"has no Rail\.json \(1 of 3 are missing\)"):
        choose_suites(["seginw"], data=data, boxes=boxes)


def test_a_near_miss_of_its_name_is_told(tmp_path):
    with pytest.raises(InputError, match="did you mean seginw"):
        choose_suites(["segingw"], data=tmp_path)


def ap_of(data, boxes, **options):
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    (result,) = evaluate({"filled": FillBox()}, suites=[suite], samples=open_dataset(data, **options))
    return result


def test_a_detector_that_finds_nothing_in_a_data_set_has_an_ap_of_0_there(seginw):
    data, boxes = seginw
    (boxes / "Hand.json").write_text("[]")
    result = ap_of(data, boxes)
    assert (result.extra["Hand"].value, result.n) == (0.0, 3) and result.value == pytest.approx((1 + 0 + 0.2) / 3)
    elsewhere = json.loads((boxes / "Puppies.json").read_text())
    (boxes / "Puppies.json").write_text(json.dumps([one for one in elsewhere if one["image_id"] == 2]))
    assert ap_of(data, boxes, limit=2).extra["Puppies"].value == 0.0  # its first photo, which has no box


def test_swapped_axes_duplicates_and_unknown_categories(seginw):
    data, boxes = seginw
    rewrite(boxes / "Puppies.json", lambda one: {"bbox": [one["bbox"][i] for i in (1, 0, 3, 2)]})
    assert ap_of(data, boxes).extra["Puppies"].value == 0.0
    hand = json.loads((boxes / "Hand.json").read_text())
    twice = [hand[0], hand[0], hand[0] | {"category_id": 9, "score": 1.0}]
    (boxes / "Hand.json").write_text(json.dumps(twice))
    result = ap_of(data, boxes)
    # a duplicate after the only object costs nothing, a stranger neither
    assert result.extra["Hand"].value == pytest.approx(0.2)
    assert result.skipped["box of an unknown category"] == 1
    (boxes / "Hand.json").write_text(json.dumps([hand[0] | {"bbox": [0, 0, 2, 2], "score": 1.0}, hand[0]]))
    assert ap_of(data, boxes).extra["Hand"].value == pytest.approx(0.1)  # a false box before it halves its precision


def change_annotations(data, part, change):
    path = data / part / "valid" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_crowds_photos_without_annotations_and_wrong_sizes(seginw):
    data, boxes = seginw
    change_annotations(data, "Puppies", lambda content: content["annotations"][1].update(iscrowd=1))
    result = ap_of(data, boxes)
    assert (result.extra["Puppies"].value, result.extra["Puppies"].n, result.skipped["crowd"]) == (1.0, 2, 1)
    change_annotations(data, "Rail", lambda content: content.update(annotations=[]))
    result = ap_of(data, boxes)
    assert (result.n, result.skipped["data set without an object"]) == (2, 1)
    change_annotations(data, "Hand", lambda content: content["images"][0].update(height=30, width=20))
    with pytest.raises(InputError, match="20 high and 30 wide, the annotations say 30 and 20"):
        ap_of(data, boxes)


def test_boxes_off_the_photo_say_nothing_of_agreement(seginw):
    data, boxes = seginw
    records = json.loads((boxes / "Rail.json").read_text())
    (boxes / "Rail.json").write_text(json.dumps([*records, records[0] | {"bbox": [500, 500, 9, 9], "score": 0.1}]))
    (suite,) = choose_suites(["seginw"], data=data, boxes=boxes)
    results = evaluate({"m": FillBox(), "n": FillBox()}, suites=[suite], samples=open_dataset(data), reference="n")
    assert (results[0].extra["agreement"].value, results[0].extra["agreement"].n) == (1.0, 5)  # of 6 detections
