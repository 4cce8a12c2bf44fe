import json
import re
from dataclasses import replace

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.predictor import Prediction
from eval_zeroshot import Disc, FillBox, ModelFacts, box_iou, evaluate, point_iou
from eval_zeroshot.report.observed import ObservedFiles


class Shifted(FillBox):
    """A filled box, moved 2 px to the right."""

    role = "student"
    images = 0

    def set_image(self, image, /):
        super().set_image(image)
        self.images += 1

    def predict(self, prompts, *, multimask=True):
        found = super().predict(prompts, multimask=multimask)
        return Prediction(np.roll(found.masks, 2, axis=-1), found.scores, found.logits)


@pytest.fixture
def samples(make_sample):
    return [
        make_sample((1, 1, 9, 4), (12, 3, 18, 7), key="a", mark=1),
        make_sample(key="b", mark=2),
        make_sample((5, 2, 9, 19), key="c", mark=3),
    ]


def test_agreement_with_the_reference_by_hand(samples):
    results = evaluate(
        {"ours": Shifted(), "teacher": FillBox()}, suites=[box_iou], samples=samples, reference="teacher", dataset="d"
    )
    ours, teacher = results
    # boxes 8, 6 and 4 px wide, moved by 2: 6 / 10, 4 / 8, 2 / 6
    assert ours.extra["agreement"].value == pytest.approx((0.6 + 0.5 + 1 / 3) / 3)
    assert ours.extra["agreement"].n == 3
    assert teacher.extra["agreement"].value == 1.0
    assert (ours.reference, ours.role, teacher.role, ours.dataset) == ("teacher", "student", "teacher", "d")


def test_agreement_does_not_depend_on_the_truth(samples, oracle):
    agree = evaluate({"a": Shifted(), "b": Shifted()}, suites=[box_iou, point_iou], samples=samples, reference="b")
    assert [result.extra["agreement"].value for result in agree] == [1.0] * 4
    assert agree[0].value < 1.0


def test_results_come_by_suite_then_model_and_equal_those_of_single_runs(samples):
    models = {"fill": FillBox(), "shifted": Shifted()}
    results = evaluate(models, suites=[box_iou, point_iou], samples=samples)
    assert [(result.suite, result.model) for result in results] == [
        ("box", "fill"),
        ("box", "shifted"),
        ("point", "fill"),
        ("point", "shifted"),
    ]
    alone = point_iou.run(Shifted(), samples)
    assert results[3].value == alone.value
    assert {k: v.value for k, v in results[3].extra.items()} == {k: v.value for k, v in alone.extra.items()}


def test_each_photo_is_read_once_and_set_once_for_all_suites(samples):
    read = []
    model = Shifted()
    seen = []
    evaluate(
        {"a": model, "b": FillBox()},
        suites=[box_iou, point_iou],
        samples=(read.append(sample.key) or sample for sample in samples),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert read == ["a", "b", "c"]
    assert model.images == 3
    assert seen == [(1, None), (2, None), (3, None)]


class Killed(Exception):
    pass


def test_the_same_call_continues_where_it_was_stopped(samples, tmp_path):
    def stop(done, total):
        if done == 2:
            raise Killed

    arguments = {"suites": [box_iou, point_iou], "samples": samples, "reference": "teacher", "state": tmp_path}
    with pytest.raises(Killed):
        evaluate({"teacher": FillBox(), "ours": Shifted()}, progress=stop, **arguments)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes() + b'{"key": "c", "ar')  # as a kill in the middle of a line leaves it
    ours = Shifted()
    with pytest.warns(UserWarning, match="unfinished"):
        resumed = evaluate({"teacher": FillBox(), "ours": ours}, **arguments)
    assert ours.images == 1  # only photo c
    del arguments["state"]
    assert resumed == evaluate({"teacher": FillBox(), "ours": Shifted()}, **arguments)


def test_a_second_model_does_not_ask_the_reference_again(samples, tmp_path):
    teacher = Shifted()
    for name in ("one", "two"):
        arguments = {"suites": [box_iou], "samples": samples, "reference": "teacher", "state": tmp_path}
        evaluate({"teacher": teacher, name: FillBox()}, **arguments)
    assert teacher.images == 3


def test_other_weights_start_afresh(samples, tmp_path):
    results = []
    for sha256, model in (("1" * 64, FillBox()), ("2" * 64, Shifted())):
        facts = {"m": ModelFacts(sha256=sha256)}
        results += evaluate({"m": model}, suites=[box_iou], samples=samples, state=tmp_path, facts=facts)
    assert results[0].value == 1.0 > results[1].value
    assert [result.model_sha256 for result in results] == ["1" * 64, "2" * 64]


def with_image(sample, pixel):
    image = sample.image.copy()
    image[7, 20] = pixel
    return replace(sample, image=image)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda make, old: make((1, 1, 9, 4), (12, 3, 18, 7), key="a", mark=1, annotation_ids=[77, 78]), "annotations"),
        (lambda make, old: make((1, 1, 9, 4), (12, 3, 18, 8), key="a", mark=1), "annotations"),  # a mask and its box
        (lambda make, old: replace(old, boxes=old.boxes + 0.25), "annotations"),
        (lambda make, old: replace(old, areas=old.areas * 100), "annotations"),  # decides the size class
        (lambda make, old: replace(old, meta={"frequencies": ["r", "f"]}), "annotations"),
        (lambda make, old: with_image(old, 9), "pixels"),
        (lambda make, old: make((1, 1, 9, 4), key="a", mark=4), "pixels and annotations"),
    ],
)
def test_a_data_set_that_changed_under_its_name_is_refused(samples, make_sample, tmp_path, change, what):
    evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, state=tmp_path)
    changed = [change(make_sample, samples[0]), *samples[1:]]
    with pytest.raises(InputError, match=f"photo a was evaluated with other {what} than .*choose another --out"):
        evaluate({"m": FillBox()}, suites=[box_iou], samples=changed, state=tmp_path)
    assert evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, state=tmp_path)[0].n == 3  # nothing was lost


@pytest.mark.parametrize("what", ["data set", "version", "protocol", "seed", "image size"])
def test_what_is_measured_otherwise_starts_afresh(samples, tmp_path, what):
    class Other(type(box_iou)):
        version = "9" if what == "version" else box_iou.version
        protocol = "other" if what == "protocol" else box_iou.protocol
        seed = 9 if what == "seed" else box_iou.seed

    class Sized(Shifted):
        identity, image_size = "same", 256

    first, second = Sized(), Sized()
    second.image_size = 512 if what == "image size" else 256
    evaluate({"m": first}, suites=[box_iou], samples=samples, state=tmp_path, dataset="d")
    named = "e" if what == "data set" else "d"
    evaluate({"m": second}, suites=[Other()], samples=samples, state=tmp_path, dataset=named)
    assert (first.images, second.images) == (3, 3)


def test_a_result_says_which_annotations_it_is_of(samples):
    def digest(shown):
        return evaluate({"m": FillBox()}, suites=[box_iou], samples=shown)[0].dataset_sha256

    assert digest(samples) == digest(samples[::-1]) != digest(samples[:2])
    assert digest([with_image(samples[0], 9), *samples[1:]]) == digest(samples)  # other pixels: another JPEG decoder
    assert digest([replace(samples[0], crowd=[True, False]), *samples[1:]]) != digest(samples)


def test_a_model_without_identity_cannot_be_resumed(samples, tmp_path):
    class Anonymous:
        set_image, predict = FillBox.set_image, FillBox.predict

    with pytest.raises(InputError, match="identity"):
        evaluate({"m": Anonymous()}, suites=[box_iou], samples=samples, state=tmp_path)


def test_an_unknown_reference_gets_a_hint(samples):
    with pytest.raises(InputError, match="did you mean teacher"):
        evaluate({"teacher": Disc()}, suites=[box_iou], samples=samples, reference="teachr")


def test_two_photos_of_one_key_are_refused(samples):
    with pytest.raises(InputError, match="unique"):
        evaluate({"fill": FillBox()}, suites=[box_iou], samples=[samples[0], samples[0]])


def test_a_suite_given_twice_and_a_store_that_cannot_be_read_leave_no_lock(samples, tmp_path):
    with pytest.raises(InputError, match="two suites have one name among box, box"):
        evaluate({"m": FillBox()}, suites=[box_iou, box_iou], samples=samples, state=tmp_path)
    evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, state=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.read_text()
    path.write_text(whole + "{}\n")
    for _ in "ab":
        with pytest.raises(InputError, match="line 5, is not an observation \\(key: .*; delete the line and run") as caught:
            evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, state=tmp_path)
    path.write_text(whole)
    assert evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, state=tmp_path)[0].n == 3
    del caught


def test_observations_of_an_earlier_version_without_checksums_are_used(samples, tmp_path):
    evaluate({"m": Shifted()}, suites=[box_iou], samples=samples, state=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_text(re.sub(r'"(image|annotations)_sha256":"\w+",|,"crc32":"\w+"', "", path.read_text()))
    assert "annotations_sha256" not in path.read_text() and "crc32" not in path.read_text()
    model = Shifted()
    evaluate({"m": model}, suites=[box_iou], samples=samples, state=tmp_path)
    assert model.images == 0


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\u2029", "\x1c", "\r"])
def test_photos_with_separators_of_lines_in_their_names_are_found_again(make_sample, tmp_path, separator):
    samples = [make_sample((1, 1, 9, 4), key=f"a{separator}{mark}", mark=mark) for mark in (1, 2)]
    first = evaluate({"m": Shifted()}, suites=[box_iou], samples=samples, state=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    raw = path.read_bytes().replace(json.dumps(separator)[1:-1].encode(), separator.encode())
    if separator in "\u2028\u2029\x85":  # as earlier releases wrote them; the others JSON does not allow
        path.write_bytes(raw)
        assert separator.encode() in raw
    model = Shifted()
    assert evaluate({"m": model}, suites=[box_iou], samples=samples, state=tmp_path) == first and model.images == 0
    (result,) = first
    seen = ObservedFiles([tmp_path]).of(result)
    assert seen is not None and list(seen.photos) == [f"a{separator}1", f"a{separator}2"]


def test_an_answer_without_finite_numbers_is_named_and_what_was_seen_stays(samples, tmp_path):
    class Broken(Shifted):
        def predict(self, *args, **kwargs):
            masks, scores, _ = super().predict(*args, **kwargs)
            logits = np.zeros((*masks.shape[:2], 4, 4), np.float32)
            return Prediction(masks, scores * np.float32("nan") if self.images == 3 else scores, logits)

    with pytest.raises(InputError, match="m, suite box, photo c: the answer cannot be kept .*finite number"):
        evaluate({"m": Broken()}, suites=[box_iou], samples=samples, state=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    assert [json.loads(line).get("key") for line in path.read_text().splitlines()] == [None, "a", "b"]


def test_a_photo_whose_name_no_file_can_hold_is_refused_before_a_model_is_asked(make_sample, tmp_path):
    model = Shifted()
    with pytest.raises(InputError, match="has a name that is not UTF-8; rename its file"):
        evaluate({"m": model}, suites=[box_iou], samples=[make_sample((1, 1, 9, 4), key="a\udcff")], state=tmp_path / "s")
    assert model.images == 0 and not (tmp_path / "s").exists()


def test_a_folder_for_what_was_seen_is_there_once_something_was(samples, tmp_path):
    class Failing(Shifted):
        def predict(self, *args, **kwargs):
            raise Killed

    state = tmp_path / "state"
    with pytest.raises(Killed):
        evaluate({"m": Failing(), "n": FillBox()}, suites=[box_iou], samples=samples, state=state)
    assert not state.exists()
    state.mkdir()  # a user's own stays
    with pytest.raises(Killed):
        evaluate({"m": Failing()}, suites=[box_iou], samples=samples, state=state)
    assert list(state.iterdir()) == []
    with pytest.raises(Killed):
        evaluate({"n": FillBox(), "m": Failing()}, suites=[box_iou], samples=samples, state=state)
    assert [path.name.split(".")[2] for path in state.iterdir()] == ["n"]


def test_progress_is_printed_where_it_is_asked_for(samples, capsys):
    evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, progress=True)
    assert capsys.readouterr().err == "photo 3/3\n"
    for none in (False, None):
        evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, progress=none)
    assert capsys.readouterr().err == ""


def test_a_suites_own_run_is_the_same_loop(make_sample):
    samples = [make_sample((2, 3, 9, 8), key="a"), make_sample((4, 1, 8, 12), key="b")]
    own = box_iou.run(FillBox(), samples, model="m", dataset="d")
    (evaluated,) = evaluate({"m": FillBox()}, suites=[box_iou], samples=samples, dataset="d")
    assert (own.value, own.n, own.extra) == (evaluated.value, evaluated.n, own.extra)
    with pytest.raises(InputError, match="two samples have the key a"):
        box_iou.run(FillBox(), [samples[0], samples[0]])
