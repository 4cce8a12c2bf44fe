import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from encoders.samples.rle import encode_mask
from eval_zeroshot import Estimate, compare
from eval_zeroshot.report.page import breakable, linked, page, write_page
from eval_zeroshot.report.pictures import MISSED, RIGHT, SURPLUS, cut_out, paint
from eval_zeroshot.report.svg import step_of, ticks
from eval_zeroshot.results.observations import dataset_sha256


def objects(hand):
    """Five objects on two photos: IoUs of ours and of a teacher; 0.1 (b, 10) is ours' worst, 0.5 (a, 11) its median."""
    first = hand.photo("a", hand.mask(5, 3), hand.mask(30, 20), hand.mask(2, 28))
    second = hand.photo("b", hand.mask(40, 8), hand.mask(20, 14))
    ours = {"a": [0.9, 0.5, 0.7], "b": [0.1, 0.3]}
    teacher = {"a": [0.8, 0.95, 0.85], "b": [0.9, 0.6]}
    return [first, second], {"ours": ours, "teacher": teacher}


@pytest.fixture
def made(hand, tmp_path):
    """Comparison, folder of observations, data set."""
    samples, ious = objects(hand)
    results = []
    for model, values in ious.items():
        role = "teacher" if model == "teacher" else "student"
        result = hand.result(model, [v for line in values.values() for v in line], role=role, images=2)
        results.append(result)
        hand.keep(tmp_path, result, [hand.seen(s, values[s.key], list(s.masks)) for s in samples], name=model)
    return compare(results, published=True), tmp_path, hand.photos(*samples)


def test_the_page_is_whole_and_needs_nothing_else(made, read_page):
    comparison, state, photos = made
    text = page(comparison, states=[state], datasets=[photos])
    seen = read_page(text)
    sources = [attributes["src"] for _, attributes in seen.elements if "src" in attributes]
    assert len(sources) == 8 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert seen.all("link") == seen.all("iframe") == [] and "@import" not in text and "url(" not in text
    outside = [a["href"] for a in seen.all("a") if not a["href"].startswith("#")]
    assert all(re.match(r"https://(arxiv\.org/abs|github\.com)/", href) for href in outside)
    names = {a["id"] for _, a in seen.elements if "id" in a}
    assert {a["href"][1:] for a in seen.all("a") if a["href"].startswith("#")} <= names


def test_every_number_is_on_the_page(made, read_page):
    comparison, _, _ = made
    words = read_page(page(comparison)).text
    for result in comparison.groups[0].results:
        assert f"{result.value:.3f}" in words and f"{result.standard_error:.3f}" in words
    for group in comparison.published:
        assert group.citation.split(",")[0] in words and group.protocol in words
        for row in group.rows():
            percents = group.unit == "percent"
            assert f"{row.value / (100 if percents else 1):.{group.digits + 2 * percents}f}" in words


def test_a_model_called_like_a_tag_stays_text(hand, read_page, tmp_path):
    name = '<b onclick="x()">&"\''
    sample = hand.photo("<i>", hand.mask(5, 3))
    result = hand.result(name, [0.5], dataset="hand")
    hand.keep(tmp_path, result, [hand.seen(sample, [0.5], list(sample.masks))], name="x")
    other = hand.result("</script><script>alert(1)</script>", [0.25])
    text = page(compare([result, other]), states=[tmp_path], datasets=[hand.photos(sample)])
    seen = read_page(text)
    assert len(seen.all("script")) == 1 and seen.all("i") == []
    assert not any("onclick" in attributes for _, attributes in seen.elements)
    assert name in seen.text and "</script><script>alert(1)</script>" in seen.text


def test_columns_can_be_sorted_by_keyboard_and_say_how(made, read_page):
    comparison, _, _ = made
    text = page(comparison)
    seen = read_page(text)
    heads = [a for a in seen.all("th") if "aria-sort" in a]
    assert heads and {a["aria-sort"] for a in heads} == {"none"} and {a["scope"] for a in heads} == {"col"}
    assert len([a for a in seen.all("button") if a["type"] == "button"]) == len(heads)
    assert heads[0]["data-first"] == "ascending" and heads[1]["data-first"] == "descending"
    exact = {a["data-value"] for a in seen.all("td") if "data-value" in a}
    assert {repr(result.value) for result in comparison.groups[0].results} <= exact


def test_where_lower_is_better_the_lowest_comes_first(hand, read_page):
    results = [hand.result(name, [value], direction="lower") for name, value in (("a", 0.1), ("b", 0.2))]
    heads = [a for a in read_page(page(compare(results))).all("th") if "aria-sort" in a]
    assert heads[1]["data-first"] == "ascending"


def test_the_gallery_shows_the_worst_and_the_median_object_with_every_models_mask(made, read_page):
    comparison, state, photos = made
    seen = read_page(page(comparison, states=[state], datasets=[photos]))
    assert "Worst cases of ours" in seen.text and "Median cases of ours" in seen.text
    assert [a["alt"] for a in seen.all("img")] == [
        "prompt for object 10 of photo b",
        "annotated mask of object 10 of photo b",
        "mask of teacher for object 10 of photo b, IoU 0.900",
        "mask of ours for object 10 of photo b, IoU 0.100",
        "prompt for object 11 of photo a",
        "annotated mask of object 11 of photo a",
        "mask of teacher for object 11 of photo a, IoU 0.950",
        "mask of ours for object 11 of photo a, IoU 0.500",
    ]
    of_teacher = read_page(page(comparison, states=[state], datasets=[photos], gallery_of="teacher"))
    assert of_teacher.all("img")[0]["alt"] == "prompt for object 11 of photo b"  # 0.6


def test_a_detectors_boxes_are_shown_with_the_objects_they_are_of(hand, read_page, tmp_path):
    """Detections 0, 1, 2 of a photo: of object 11, of none, of object 10. AP is no mean of theirs."""
    photo = hand.photo("a", hand.mask(5, 3), hand.mask(30, 20))
    answers = [hand.mask(30, 20), hand.mask(1, 1), hand.mask(5, 3, width=3)]
    values = {"score": [0.9, 0.8, 0.7], "annotation": [11, -1, 10], "mask_iou": [1.0, 0.0, 0.25]}
    values |= {"x0": [30, 1, 5], "y0": [20, 1, 3], "x1": [42, 9, 17], "y1": [30, 9, 13]}
    seen = {"key": "a", "ids": [0, 1, 2], "areas": [120, 64, 120], "values": values}
    result = hand.result("ours", [0.4], suite="instance_sam", protocol="AP of COCO")
    hand.keep(tmp_path, result, [seen | {"masks": [encode_mask(mask) for mask in answers]}], name="ours")
    shown = read_page(page(compare([result]), states=[tmp_path], datasets=[hand.photos(photo)]))
    assert [image["alt"] for image in shown.all("img")] == [
        "prompt for object 10 of photo a",
        "annotated mask of object 10 of photo a",
        "mask of ours for object 10 of photo a, IoU 0.250",
    ]
    with_box = Image.open(io.BytesIO(base64.b64decode(shown.all("img")[0]["src"].partition(",")[2]))).convert("L")
    pixels = np.asarray(with_box, int)  # 60 px of the photo are 300 of the picture, whose grey is 90
    assert pixels[40, 25] > 200 and pixels[40, 55] < 120  # the box's left side, and its middle


def test_without_photos_or_observations_the_page_says_what_the_gallery_needs(made, hand, read_page):
    comparison, state, photos = made
    assert "give the data set by --data" in read_page(page(comparison, states=[state])).text
    assert "observations that eval keeps" in read_page(page(comparison, datasets=[photos])).text
    others = hand.photos()
    others.name = "others"
    assert "--data gave others" in read_page(page(comparison, states=[state], datasets=[others])).text


def test_photos_that_are_not_those_evaluated_are_no_gallery_and_told(made, hand, tmp_path):
    comparison, state, _ = made

    def reasons(*photos):
        return write_page(comparison, out=tmp_path / "p.html", states=[state], datasets=[hand.photos(*photos)])

    (told,) = reasons(hand.photo("b", hand.mask(1, 1), hand.mask(2, 2)))
    assert "hand has no photo a with the annotations that were evaluated; give --data as in eval" in told
    (told,) = reasons(hand.photo("a", hand.mask(5, 3)), hand.photo("b", hand.mask(1, 1)))
    assert "photo a has no object 11" in told


def test_each_of_two_data_sets_of_one_name_has_its_gallery(hand, read_page, tmp_path):
    results, photos = [], []
    for number, x in ((1, 5), (2, 30)):
        sample = hand.photo("a", hand.mask(x, 3))
        digest = sample.annotations_sha256()
        seen = hand.seen(sample, [0.5], list(sample.masks)) | {"annotations_sha256": digest}
        results.append(hand.result("ours", [0.5], dataset_sha256=dataset_sha256([digest])))
        hand.keep(tmp_path / str(number), results[-1], [seen], name="x")
        photos.append(hand.photos(sample))
    states = [tmp_path / "1", tmp_path / "2"]
    shown = read_page(page(compare(results), states=states, datasets=photos))
    pictures = [image["src"] for image in shown.all("img")]  # prompt, truth, and an answer that is the truth, of each
    assert len(pictures) == 6 and pictures[0] != pictures[3] and pictures[1] == pictures[2] != pictures[4] == pictures[5]


def test_a_data_set_in_another_order_is_searched(made, hand, read_page):
    comparison, state, photos = made
    turned = hand.photos(*reversed(photos))
    assert len(read_page(page(comparison, states=[state], datasets=[turned])).all("img")) == 8


def test_charts_for_what_there_is(made, hand, read_page):
    comparison, state, _ = made
    shown = read_page(page(comparison, states=[state]))
    assert [a["aria-label"] for a in shown.all("ul") if a.get("class") == "intervals"] == ["box mIoU of each model"]
    assert [a["aria-label"] for a in shown.all("svg") if "aria-label" in a] == [
        "objects of teacher by IoU, median 0.850",
        "objects of ours by IoU, median 0.500",
    ]
    clicks = {f"click_{count}": Estimate(value=0.1 * count, n=1) for count in (3, 5)}
    point = hand.result("ours", [0.125], suite="point", extra=clicks)
    seen = read_page(page(compare([point])))
    assert "ours, 1 clicks: 0.125" in seen.text and "ours, 5 clicks: 0.500" in seen.text


def test_where_lower_is_better_objects_are_counted_by_that_number(hand, read_page, tmp_path):
    sample = hand.photo("a", hand.mask(5, 3), hand.mask(30, 20), hand.mask(2, 28))
    protocol = "the share of wrong pixels of a photo; mean over photos"
    result = hand.result("ours", [0.01, 0.02, 0.06], suite="saliency", direction="lower", protocol=protocol)
    hand.keep(tmp_path, result, [hand.seen(sample, [0.01, 0.02, 0.06], list(sample.masks))], name="ours")
    shown = read_page(page(compare([result]), states=[tmp_path]))
    (label,) = [a["aria-label"] for a in shown.all("svg")]
    assert label == "photos of ours by MAE (lower is better), median 0.020"
    assert "Share of photos by MAE (lower is better)" in shown.text and "IoU" not in shown.text


def test_edges_have_a_curve_and_pictures_of_the_maps(hand, read_page, tmp_path):
    # Recall 8/10, then 4/10; precision 8/16, then 4/8: F is best at the first level, 2 x 0.8 x 0.5 / 1.3 = 0.615.
    counts = {"levels": [0.2, 0.6], "matched_truth": [8, 4], "truth": [10, 10], "matched_edge": [8, 4], "edge": [16, 8]}
    protocol = "the benchmark. extra: OIS; ± is a jackknife over photos"
    result = hand.result("ours", [0.615], suite="edges", protocol=protocol)
    path = hand.keep(tmp_path, result, [{"key": "a", "values": counts}], name="e")
    path.with_suffix("").mkdir()
    Image.fromarray(np.eye(40, 60, dtype=np.uint8) * 255).save(path.with_suffix("") / "a.png")
    sample = hand.photo("a")
    object.__setattr__(sample, "boundaries", [np.eye(40, 60, dtype=bool)])
    seen = read_page(page(compare([result]), states=[tmp_path], datasets=[hand.photos(sample)]))
    assert "precision over recall of the edges of each model" in [a["aria-label"] for a in seen.all("svg")]
    assert [a["alt"] for a in seen.all("img")] == ["photo a", "drawn edges of photo a", "edges of ours, best F 0.615"]


def test_the_same_results_give_the_same_bytes(made, tmp_path):
    comparison, state, photos = made
    for name in ("one", "two"):
        write_page(comparison, out=tmp_path / "deep" / f"{name}.html", states=[state], datasets=[photos])
    assert (tmp_path / "deep" / "one.html").read_bytes() == (tmp_path / "deep" / "two.html").read_bytes()
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["one.html", "two.html"]


def test_a_cut_out_lies_within_the_photo_around_its_object():
    mask = np.zeros((300, 400), bool)
    mask[200:250, 380:400] = True  # 50 high, 20 wide, at the right edge
    x0, y0, x1, y1 = cut_out(mask)
    assert (x1 - x0, y1 - y0) == (127, 95)  # 1.9 x 50 high, 4:3
    assert x1 == 400 and y0 == 178  # 225 - 95 / 2; pushed in from the edge, centred in height
    assert cut_out(np.ones((40, 60), bool)) == (0, 0, 60, 40)


def test_right_missed_and_surplus_have_their_colours():
    image, truth, answer = np.full((40, 60, 3), 100, np.uint8), np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[10:30, 10:40], answer[10:30, 25:55] = True, True
    picture = np.asarray(paint(image, crop=(0, 0, 60, 40), truth=truth, answer=answer), int)
    for x, color in ((17, MISSED), (32, RIGHT), (47, SURPLUS)):
        painted = picture[100, x * 5]
        nearest = min((MISSED, RIGHT, SURPLUS), key=lambda each: np.abs(painted - each).sum())
        assert nearest == color
    assert len(set(picture[25, 25])) == 1  # grey outside


def test_citations_are_links_and_nothing_else_is():
    text = linked("A & B, <i>, arXiv:2312.06660v2; https://github.com/a/b-c at 12")
    assert 'href="https://arxiv.org/abs/2312.06660v2"' in text and 'href="https://github.com/a/b-c"' in text
    assert "A &amp; B, &lt;i&gt;" in text


def test_names_are_whole_and_what_cannot_be_seen_in_them_is_written_out(hand, read_page, tmp_path):
    name, key = "n" * 60 + "\x1b[31m\u202e", "photo\u202egpj\x9b"
    sample = hand.photo(key, hand.mask(5, 3))
    results = [hand.result(name, [0.5]), hand.result("other\u2067", [0.25], reference=name)]
    for number, result in enumerate(results):
        hand.keep(tmp_path, result, [hand.seen(sample, [result.value], list(sample.masks))], name=str(number))
    text = page(compare(results), states=[tmp_path], datasets=[hand.photos(sample)])
    seen = read_page(text)
    assert not set(text) & set("\x1b\x9b\u202e\u2067") and "…" not in seen.text
    assert seen.text.count("n" * 60 + r"\x1b[31m\u202e") >= 4  # table, intervals, histogram, gallery
    assert any(r"photo\u202egpj\x9b" in image["alt"] for image in seen.all("img"))
    assert "text-overflow" not in text


def test_the_axis_of_intervals_is_that_of_the_data(hand, read_page):
    results = [hand.result(name, [value], low=value - 0.01, high=value + 0.01) for name, value in (("a", 0.71), ("b", 0.74))]
    seen = read_page(page(compare(results)))
    whiskers = [line for line in seen.all("line") if "whisker" in line["class"]]
    assert [(line["x1"], line["x2"]) for line in whiskers] == [("0.00%", "40.00%"), ("60.00%", "100.00%")]  # 0.70 to 0.75
    assert [dot["cx"] for dot in seen.all("circle")] == ["20.00%", "80.00%"]
    assert all(tick in seen.text for tick in ("0.7", "0.71", "0.75"))


@pytest.mark.parametrize(("role", "top"), [("baseline", "0.5"), ("student", "1")])
def test_a_baseline_does_not_stretch_the_axis_of_the_histograms(hand, read_page, tmp_path, role, top):
    """Ours has half of its objects in a bin, the other all: beyond the axis, where its share is written."""
    sample = hand.photo("a", hand.mask(5, 3), hand.mask(30, 20))
    for name, values, its in (("ours", [0.5, 0.9], "student"), ("untrained", [0.01, 0.02], role)):
        result = hand.result(name, values, role=its)
        hand.keep(tmp_path, result, [hand.seen(sample, values, list(sample.masks))], name=name)
    results = [hand.result("ours", [0.5, 0.9]), hand.result("untrained", [0.01, 0.02], role=role)]
    seen = read_page(page(compare(results), states=[tmp_path]))
    assert ("↑ 1.00" in seen.text) == (role == "baseline")
    ours = max(float(bar["height"]) for bar in seen.all("rect") if "s1" in bar["class"])
    assert ours == pytest.approx(190 - 12 - 42 if top == "0.5" else (190 - 12 - 42) / 2, abs=0.1)
    assert "0.000 of 2 objects" in seen.text and "%" not in seen.text.partition("Share of objects")[2].partition("right")[0]


def test_pictures_open_large_by_mouse_or_keyboard_without_anything_from_outside(made, read_page):
    comparison, state, photos = made
    text = page(comparison, states=[state], datasets=[photos])
    seen = read_page(text)
    buttons = [button for button in seen.all("button") if button.get("class") == "enlarge"]
    assert len(buttons) == len(seen.all("img")) == 8 and all(button["type"] == "button" for button in buttons)
    assert "showModal" in text and "ArrowRight" in text


def test_a_cut_out_of_a_large_object_keeps_its_pixels_up_to_a_limit():
    image, mask = np.zeros((1000, 2000, 3), np.uint8), np.zeros((1000, 2000), bool)
    assert paint(image, crop=(0, 0, 500, 400), truth=mask, answer=mask).size == (500, 400)
    assert paint(image, crop=(0, 0, 2000, 1000), truth=mask, answer=mask).size == (720, 360)
    assert paint(image, crop=(0, 0, 120, 90), truth=mask, answer=mask).size == (300, 225)


def test_long_words_of_a_header_may_be_broken():
    assert breakable("agrees with sam_demo") == "agrees with sam_demo"
    assert breakable("minus " + "n" * 30) == f"minus {'n' * 14}<wbr>{'n' * 14}<wbr>nn"
    assert breakable("a_model_of_ours_<b>") == "a_<wbr>model_<wbr>of_<wbr>ours_<wbr>&lt;b&gt;"


@pytest.mark.parametrize("values", [[1e308, -1e308], [1e12, 0.0], [0.0, 0.0]])
def test_an_axis_of_numbers_that_nobody_measured_has_few_ticks(values):
    assert 0 < step_of(values) < 1e13 and len(ticks((min(values), max(values) + 1))) <= 8
