"""The instance suites: what each protocol asks, and AP worked out by hand. Photos are 30 x 20, objects off the diagonal."""

from dataclasses import replace

import numpy as np
import pytest

import encoders
from encoders.errors import InputError
from encoders.predictor import Prediction
from encoders.prompts import Prompts
from encoders.samples.rle import encode_mask, rle_iou
from eval_zeroshot import average_precision, choose_suites, evaluate, open_dataset
from eval_zeroshot.ap.annotations import Annotations, read_annotations
from eval_zeroshot.ap.detections import Detections, read_detections
from eval_zeroshot.predictors.baselines import FillBox, fill_box
from eval_zeroshot.suites.detector_boxes.instance import InstanceAp
from eval_zeroshot.suites.detector_boxes.instance_protocols import PROTOCOLS

HEIGHT, WIDTH = 20, 30
FIRST, SECOND = (3, 2, 10, 12), (15, 4, 24, 12)  # xyxy


class Shrinking:
    """Answers a box with the whole box (single), or with the box less 0, 1, 2 columns; the middle one is most confident."""

    identity = "shrinking"

    def __init__(self):
        self.asked, self.images = [], 0

    def set_image(self, image, /):
        self.images += 1
        self.shape = image.shape[:2]

    def predict(self, prompts, *, multimask=True):
        self.asked.append({"boxes": prompts.boxes, "masks": prompts.masks, "multimask": multimask})
        cuts = (0, 1, 2) if multimask else (0,)
        found = [[fill_box(box - np.asarray([0, 0, cut, 0]), shape=self.shape) for cut in cuts] for box in prompts.boxes]
        scores = np.asarray([[0.5, 0.9, 0.7][: len(cuts)]] * len(prompts.boxes), np.float32)
        logits = np.arange(len(prompts.boxes) * len(cuts), dtype=np.float32).reshape(len(prompts.boxes), len(cuts), 1, 1)
        return Prediction(np.asarray(found), scores, logits)


def record(box, score, *, image=1, category=1):
    x0, y0, x1, y1 = box
    return {"image_id": image, "category_id": category, "score": score, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def detector(*records, sha256="0" * 64):
    return Detections(name="boxes.json", sha256=sha256, records=list(records))


@pytest.fixture
def photos(make_sample):
    """Photo a with two objects, photo b with one, photo c without."""
    return [
        make_sample(FIRST, SECOND, key="a", category_ids=[1, 1]),
        make_sample(FIRST, key="b", category_ids=[1]),
        make_sample(key="c"),
    ]


@pytest.fixture
def truth(photos):
    annotations = [
        {"image_id": number, "category_id": int(category), "bbox": [0, 0, 1, 1], "area": float(area), "iscrowd": 0}
        | {"segmentation": encode_mask(mask)}
        for number, sample in enumerate(photos, start=1)
        for mask, area, category in zip(sample.masks, sample.areas, sample.category_ids, strict=True)
    ]
    images = [{"id": n, "height": HEIGHT, "width": WIDTH, "file_name": f"{'abc'[n - 1]}.jpg"} for n in (1, 2, 3)]
    categories = [{"id": 1}, {"id": 2}]
    return Annotations(kind="coco", name="truth.json", images=images, annotations=annotations, categories=categories)


def suite_of(name, truth, *records, **facts):
    return InstanceAp(PROTOCOLS[name], detections=detector(*records, **facts), truth=truth)


def test_every_protocol_says_what_is_stated_and_what_is_inferred():
    assert set(PROTOCOLS) == {"sam", "edgesam", "efficientvit_sam", "repvit_sam"}
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name and protocol.version == "1"
        assert "stated: " in protocol.description and "inferred: " in protocol.description


@pytest.mark.parametrize(
    ("name", "rounds", "columns", "score"),
    [
        ("sam", [(True, None), (False, 1.0)], 7, 0.8),  # logits of the middle mask of the only box: number 1
        ("edgesam", [(False, None)], 7, 0.8),
        ("efficientvit_sam", [(True, None)], 6, 0.8),
        ("repvit_sam", [(False, None)], 7, 0.8 * 0.5),
    ],
)
def test_what_a_protocol_asks_and_answers(photos, truth, name, rounds, columns, score):
    suite, model = suite_of(name, truth, record(FIRST, 0.8)), Shrinking()
    model.set_image(photos[0].image)
    (result,) = suite.results([suite.observe(model, photos[0])])
    asked = [(call["multimask"], None if call["masks"] is None else float(call["masks"].squeeze())) for call in model.asked]
    assert asked == rounds
    assert all(call["boxes"].tolist() == [list(FIRST)] for call in model.asked)
    assert result["score"] == pytest.approx(score) and result["category_id"] == 1
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:12, 3 : 3 + columns] = True
    assert result["segmentation"] == encode_mask(expected)


def test_ap_of_all_photos_by_hand(photos, truth):
    # In order of score: a hit, the false box on the photo without objects, a hit; the third object is not found.
    # Precision 1 up to recall 1/3 (34 points of 101), then 2/3 up to recall 2/3 (33 points), then 0.
    suite = suite_of("edgesam", truth, record(FIRST, 0.9), record(SECOND, 0.7, image=3), record(FIRST, 0.5, image=2))
    result = suite.run(Shrinking(), photos, model="m", dataset="d")
    assert result.value == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert (result.n, result.images, result.detector, result.detector_sha256) == (3, 3, "boxes.json", "0" * 64)
    assert result.breakdown["small"].value == result.value and result.breakdown["large"].value is None
    assert result.extra["AR100"].value == pytest.approx(2 / 3)
    assert (result.suite, result.version) == ("instance_edgesam", "1") and "first mask token" in result.protocol


def test_the_suites_masks_score_the_same_as_a_file_of_them(photos, truth):
    suite = suite_of("efficientvit_sam", truth, record(FIRST, 0.9), record(SECOND, 0.7), record(FIRST, 0.5, image=2))
    model = Shrinking()
    result = suite.run(model, photos)
    seen = [(model.set_image(photo.image), suite.observe(model, photo))[1] for photo in photos]
    numbers = average_precision(truth, suite.results(seen), iou_type="segm", backend="reference")
    assert result.value == numbers["AP"] and result.extra["AP75"].value == numbers["AP75"]
    assert 0 < result.value < 1  # 6 of 7 and 8 of 9 columns


def test_only_photos_that_were_shown_count(photos, truth):
    suite = suite_of("edgesam", truth, record(FIRST, 0.9), record(SECOND, 0.8))
    assert suite.run(Shrinking(), photos[:1]).value == pytest.approx(1.0)
    assert suite.run(Shrinking(), photos).value == pytest.approx(67 / 101)


def test_a_baseline_that_knows_no_iou_keeps_the_detectors_order(photos, truth):
    wrong, right = record((0, 0, 3, 3), 0.2, image=2), record(FIRST, 0.9, image=2)
    results = [suite_of(name, truth, wrong, right).run(FillBox(), photos[1:2]) for name in ("edgesam", "repvit_sam")]
    assert [result.value for result in results] == pytest.approx([1.0, 1.0])


def test_lvis_annotations_bring_lvis_rules_and_numbers(photos, truth):
    # Category 2 was not looked for on photo c, so the false box there does not count: of three objects two are found.
    notes = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    lvis = Annotations(
        kind="lvis",
        name="lvis.json",
        images=[image | notes for image in truth.images],
        annotations=truth.annotations,
        categories=[{"id": 1, "frequency": "r"}, {"id": 2, "frequency": "f"}],
    )
    found = [record(FIRST, 0.9), record(SECOND, 0.7, image=3, category=2), record(FIRST, 0.5, image=2)]
    result = suite_of("edgesam", lvis, *found).run(Shrinking(), photos)
    assert result.value == pytest.approx(67 / 101) and result.extra["APr"].value == result.value
    assert result.extra["APf"].value is None and result.extra["AR@300"].value == pytest.approx(2 / 3)
    assert "AP of LVIS with its federated rules" in result.protocol


def test_a_box_off_the_photo_is_a_false_positive_and_not_asked(photos, truth):
    far = {"image_id": 2, "category_id": 1, "score": 1.0, "bbox": [7.9e15, -1.9e16, 0.0, 0.0]}  # as a real detector wrote
    suite, model = suite_of("edgesam", truth, far, record(FIRST, 0.5, image=2)), Shrinking()
    result = suite.run(model, [photos[1]])
    assert result.value == pytest.approx(0.5) and result.skipped["box off the photo (counted as wrong)"] == 1
    assert [len(call["boxes"]) for call in model.asked] == [1]


def test_unknown_categories_and_boxes_over_the_limit_are_left_out_and_counted(photos, truth):
    many = [record(SECOND, 0.4 - 0.001 * number) for number in range(305)]
    boxes = [record(SECOND, 0.2, category=9), *many, record(FIRST, 0.9)]
    assert suite_of("edgesam", truth, *boxes).counted_ids(photos[0]) == list(range(1, 307))
    suite, model = suite_of("repvit_sam", truth, *boxes), Shrinking()
    assert suite.counted_ids(photos[0]) == [*range(1, 300), 306]  # the 300 best, the last of the file among them
    model.set_image(photos[0].image)
    skipped = suite.observe(model, photos[0]).skipped
    assert skipped == {
        "box of an unknown category": 1,
        "box over the limit": 6,
        "box off the photo (counted as wrong)": 0,
    }


def test_boxes_of_a_photo_are_asked_in_groups_that_fit_in_memory(photos, truth, monkeypatch):
    boxes = [record(FIRST, 0.9), record(SECOND, 0.8), record(FIRST, 0.7)]
    whole = suite_of("sam", truth, *boxes).run(Shrinking(), photos)
    monkeypatch.setattr("eval_zeroshot.predictors.protocol.MASK_PIXELS_PER_CALL", 2 * 3 * HEIGHT * WIDTH)
    model = Shrinking()
    assert suite_of("sam", truth, *boxes).run(model, photos) == whole
    assert [len(call["boxes"]) for call in model.asked] == [2, 2, 1, 1]


class Killed(Exception):
    pass


def test_the_same_call_continues_and_another_detector_starts_afresh(photos, truth, tmp_path):
    def stop(done, total):
        if done == 2:
            raise Killed

    boxes = [record(FIRST, 0.9), record(FIRST, 0.5, image=2), record(SECOND, 0.3, image=3)]
    suite = suite_of("edgesam", truth, *boxes)
    with pytest.raises(Killed):
        evaluate({"m": Shrinking()}, suites=[suite], samples=photos, state=tmp_path, progress=stop)
    model = Shrinking()
    resumed = evaluate({"m": model}, suites=[suite], samples=photos, state=tmp_path)
    assert model.images == 1
    assert resumed == evaluate({"m": Shrinking()}, suites=[suite], samples=photos)
    other = suite_of("edgesam", truth, *boxes, sha256="1" * 64)
    evaluate({"m": model}, suites=[other], samples=photos, state=tmp_path)
    assert model.images == 4


def test_agreement_is_measured_between_the_masks_for_the_same_box(photos, truth):
    class Half(Shrinking):
        def predict(self, prompts, *, multimask=True):
            left = prompts.boxes - (prompts.boxes[:, 2:3] - prompts.boxes[:, :1]) / 2 * np.asarray([[0, 0, 1, 0]])
            return super().predict(replace(prompts, boxes=left), multimask=multimask)

    suite = suite_of("edgesam", truth, record((4, 2, 10, 12), 0.9))
    results = evaluate({"half": Half(), "whole": Shrinking()}, suites=[suite], samples=photos[:1], reference="whole")
    assert [result.extra["agreement"].value for result in results] == [0.5, 1.0]


def test_a_photo_of_another_size_than_stated_is_refused(truth, make_sample):
    truth.images[0].update(height=WIDTH, width=HEIGHT)
    with pytest.raises(InputError, match=r"photo a is \(20, 30\), truth.json says \(30, 20\)"):
        suite_of("sam", truth, record(FIRST, 0.9)).run(Shrinking(), [make_sample(FIRST, key="a")])


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": []}], "result 0: no bbox"),
        ([record(FIRST, 0.5, image=77)], "no detection is of a photo of truth.json"),
        ([record(FIRST, 0.5, category=77)], "no detection has a category of truth.json"),
    ],
)
def test_boxes_that_do_not_fit_the_data_are_refused(truth, records, says):
    with pytest.raises(InputError, match=says):
        suite_of("sam", truth, *records)


def test_suites_by_name_need_boxes_or_get_a_hint(tmp_path):
    with pytest.raises(InputError, match="instance_sam needs a detector's boxes: give its results .* by --boxes"):
        choose_suites(["box", "instance_sam"], data=tmp_path)
    with pytest.raises(InputError, match="did you mean instance_edgesam"):
        choose_suites(["instance_egdesam"], data=tmp_path)


def test_a_real_model_makes_the_same_masks_as_its_predictor_asked_box_by_box(coco_val):
    (photo,) = open_dataset(coco_val, limit=1)
    records = [r for r in read_detections(coco_val / "fastestdet_boxes.json").records if r["image_id"] == 139][:12]
    suite = suite_of("repvit_sam", read_annotations(coco_val / "instances.json"), *records)
    predictor = encoders.Predictor(encoders.load("sam_demo", image_size=256))
    predictor.set_image(photo.image)
    seen = suite.observe(predictor, photo)
    assert seen.ids == list(range(12))
    for place in (0, 5, 11):
        x, y, width, height = records[place]["bbox"]
        masks, ious, _ = predictor.predict(Prompts(boxes=np.asarray([[x, y, x + width, y + height]])), multimask=False)
        assert rle_iou(seen.masks[place], encode_mask(masks[0, 0])) > 0.97  # a pixel may turn with the number of prompts
        assert seen.values["score"][place] == pytest.approx(records[place]["score"] * float(ious[0, 0]), rel=1e-4)


def test_ap_has_an_interval_and_a_paired_difference(photos, truth):
    class Wider(FillBox):
        """Boxes three times as wide, as far as the photo goes: no mask reaches an IoU of 0.5."""

        def predict(self, prompts, *, multimask=True):
            width = prompts.boxes[:, 2] - prompts.boxes[:, 0]
            wide = prompts.boxes + width[:, None] * np.asarray([-1, 0, 1, 0])
            return super().predict(Prompts(boxes=wide), multimask=multimask)

    suite = suite_of("edgesam", truth, record(FIRST, 0.9), record(SECOND, 0.8), record(FIRST, 0.7, image=2))
    right, wrong = evaluate({"right": FillBox(), "wrong": Wider()}, suites=[suite], samples=photos, against="right")
    assert (right.value, right.low, right.high) == pytest.approx((1.0, 1.0, 1.0))
    assert (wrong.value, wrong.low, wrong.high) == pytest.approx((0.0, 0.0, 0.0))
    assert (wrong.difference.value, wrong.difference.low, wrong.difference.high) == pytest.approx((-1.0, -1.0, -1.0))
    assert right.extra["AP50"].low == pytest.approx(1.0) and right.extra["AR100"].low is None


def test_swapped_axes_find_nothing(photos, truth):
    x0, y0, x1, y1 = SECOND
    assert suite_of("edgesam", truth, record((y0, x0, y1, x1), 0.9)).run(Shrinking(), photos[:1]).value == 0.0


def test_a_box_given_twice_is_a_false_positive(photos, truth):
    # hit, duplicate, hit on the photo with two objects: 51 points of precision 1, 50 of 2 / 3
    boxes = [record(FIRST, 0.9), record(FIRST, 0.8), record(SECOND, 0.7)]
    assert suite_of("edgesam", truth, *boxes).run(Shrinking(), photos[:1]).value == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_crowd_neither_counts_nor_costs(photos, truth):
    truth.annotations[0]["iscrowd"] = 1  # the first of the two objects of photo a
    boxes = [record(FIRST, 0.9), record(FIRST, 0.8), record(SECOND, 0.7)]
    result = suite_of("edgesam", truth, *boxes).run(Shrinking(), photos[:1])
    assert (result.value, result.n, result.skipped["crowd"]) == (pytest.approx(1.0), 1, 1)
    assert result.breakdown["small"].n == 1


def test_an_object_of_a_category_that_is_not_listed_is_no_object(photos, truth):
    truth.annotations[0]["category_id"] = 77
    result = suite_of("edgesam", truth, record(SECOND, 0.9)).run(Shrinking(), photos[:1])
    assert (result.value, result.n, result.skipped["object of an unknown category"]) == (pytest.approx(1.0), 1, 1)


def test_photos_without_a_box_have_an_ap_of_0(photos, truth):
    suite = suite_of("edgesam", truth, record(FIRST, 0.9))
    (result,) = evaluate({"m": Shrinking()}, suites=[suite], samples=photos[1:])
    assert (result.value, result.n, result.extra["AR100"].value) == (0.0, 1, 0.0)


def test_boxes_off_the_photo_say_nothing_of_agreement(photos, truth):
    """Of two detections only one is asked about, and there the models overlap by 6 of 7 columns."""

    class Narrower(Shrinking):
        identity = "narrower"

        def predict(self, prompts, *, multimask=True):
            return super().predict(replace(prompts, boxes=prompts.boxes - [0, 0, 1, 0]), multimask=multimask)

    far = record((500, 500, 510, 510), 1.0, image=2)
    suite = suite_of("edgesam", truth, far, record(FIRST, 0.5, image=2))
    models = {"ours": Narrower(), "teacher": Shrinking()}
    ours, _ = evaluate(models, suites=[suite], samples=photos[1:], reference="teacher")
    assert (ours.extra["agreement"].value, ours.extra["agreement"].n) == (pytest.approx(6 / 7), 1)
    assert ours.extra["agreement"].low in (None, pytest.approx(6 / 7))
