"""Which accuracy belongs to which latency."""

import pytest

from encoders.errors import InputError
from eval_zeroshot import Result
from eval_zeroshot.latency.report.pairing import choose


def result(model, value, **changes):
    fields = {"suite": "box", "version": "1", "protocol": "p", "dataset": "val", "n": 9, "image_size": 1024}
    return Result(model=model, value=value, **(fields | changes))


RESULTS = [result("a", 0.7), result("b", 0.8), result("alone", 0.9)]


def points(picture):
    return [(point.model, point.image_size, point.milliseconds, point.accuracy) for point in picture.points]


def test_models_are_paired_by_name_and_those_with_one_number_are_named(row):
    rows = [row(model="a", p50_ms=30.0), row(model="b", p50_ms=70.0), row(model="timed", p50_ms=5.0)]
    picture = choose(RESULTS, rows)
    assert points(picture) == [("a", 1024, 30.0, 0.7), ("b", 1024, 70.0, 0.8)]
    assert picture.left_out == ("alone (1024 px)", "timed (1024 px)")
    assert picture.subject == "encoder, a server, 1 thread, 1024 px"


def test_accuracy_and_latency_are_of_the_same_image_size(row):
    results = [result("a", 0.7), result("a", 0.4, image_size=512)]
    rows = [row(model="a", p50_ms=90.0), row(model="a", p50_ms=20.0, image_size=512)]
    assert points(choose(results, rows)) == [("a", 1024, 90.0, 0.7), ("a", 512, 20.0, 0.4)]
    assert points(choose(results[::-1], rows, image_size=512)) == [("a", 512, 20.0, 0.4)]
    with pytest.raises(InputError, match=r"at one image size: timed are a \(512 px\), evaluated are a \(1024 px\)"):
        choose(results[:1], rows[1:])
    assert choose(results, rows[1:]).left_out == ("a (1024 px)",)
    with pytest.raises(InputError, match="--image-size 256: the results are of 512, 1024 px"):
        choose(results, rows, image_size=256)


def test_an_unknown_image_size_must_leave_no_doubt(row):
    phone = row(model="a", image_size=None, threads=None, p50_ms=48.0)
    assert points(choose(RESULTS, [phone])) == [("a", 1024, 48.0, 0.7)]
    both = [result("a", 0.7), result("a", 0.4, image_size=512)]
    with pytest.raises(InputError, match=r"a has several image sizes \(512, 1024 px\).*--image-size"):
        choose(both, [phone])
    assert points(choose(both, [phone], image_size=512)) == [("a", 512, 48.0, 0.4)]
    unsized = [result("a", 0.7, image_size=None)]
    assert points(choose(unsized, [row(model="a")])) == [("a", 1024, 412.0, 0.7)]
    with pytest.raises(InputError, match="choose one with --image-size"):
        choose(unsized, [row(model="a"), row(model="a", image_size=512)])


def test_of_several_one_must_be_chosen(row):
    rows = [row(model="a"), row(model="a", threads=2), row(model="a", device="a Mac", threads=None)]
    with pytest.raises(InputError, match="2 devices .a server, a Mac.; choose one with --device"):
        choose(RESULTS, rows)
    with pytest.raises(InputError, match="2 numbers of threads .1, 2.; choose one with --threads"):
        choose(RESULTS, rows, device="a server")
    assert choose(RESULTS, rows, device="a server", threads=2).points[0].model == "a"
    assert choose(RESULTS, rows, device="a Mac").points[0].model == "a"
    with pytest.raises(InputError, match="2 suites .box, point.; choose one with --suite"):
        choose([*RESULTS, result("a", 0.2, suite="point")], rows)
    with pytest.raises(InputError, match="2 data sets"):
        choose([*RESULTS, result("a", 0.2, dataset="lvis")], rows)


@pytest.mark.parametrize(
    ("change", "message", "chosen", "other"),
    [
        ({"version": "2"}, "2 versions of suite 'box' .1, 2.; choose one with --suite-version", "version", ("1", "2")),
        ({"protocol": "q"}, "2 protocols of suite 'box' .p, q.; choose one with --protocol", "protocol", ("p", "q")),
    ],
)
def test_versions_and_protocols_are_never_mixed(row, change, message, chosen, other):
    results = [*RESULTS, result("a", 0.2, **change)]
    with pytest.raises(InputError, match=message):
        choose(results, [row(model="a")])
    for name, accuracy in zip(other, (0.7, 0.2), strict=True):
        assert points(choose(results, [row(model="a")], **{chosen: name}))[0][-1] == accuracy


def test_padded_and_unpadded_inputs_are_never_mixed(row):
    results = [result("a", 0.7), result("a", 0.6, padding=False)]
    square = row(model="a")
    frame = row(model="a", detail={"height": 683, "width": 1024}, p50_ms=300.0)
    with pytest.raises(InputError, match="choose with --padding or --no-padding"):
        choose(results, [square])
    assert points(choose(results, [square, frame], padding=True)) == [("a", 1024, 412.0, 0.7)]
    assert points(choose(results, [square, frame], padding=False)) == [("a", 1024, 300.0, 0.6)]
    with pytest.raises(InputError, match="results are without padding, all encoder latencies with it"):
        choose(results[1:], [square])
    with pytest.raises(InputError, match="--no-padding: all results are with padding"):
        choose(results[:1], [square], padding=False)


def test_two_different_results_of_one_model_are_refused(row):
    with pytest.raises(InputError, match=r"a \(1024 px\) has two different results, 0.7 and 0.6"):
        choose([*RESULTS, result("a", 0.6)], [row(model="a")])
    assert len(choose([*RESULTS, result("a", 0.7)], [row(model="a")]).points) == 1


def test_one_kind_of_call_must_be_chosen(row):
    rows = [row(model="a", part="decoder", detail={"prompts": prompts}, p50_ms=float(prompts)) for prompts in (1, 64)]
    with pytest.raises(InputError, match="2 kinds of call .prompts 1, prompts 64.; choose one with --call"):
        choose(RESULTS, rows, part="decoder")
    picture = choose(RESULTS, rows, part="decoder", call="prompts 64")
    assert picture.points[0].milliseconds == 64.0 and picture.subject.endswith("1024 px, prompts 64")


def test_threads_that_are_not_confirmed_are_named_and_versions_of_a_runtime_told_apart(row):
    litert = row(model="a", runtime="litert").model_copy(update={"threads_effective": None})
    rows = [row(model="a", runtime_name="PyTorch 2"), row(model="a", runtime_name="PyTorch 3"), litert]
    picture = choose(RESULTS, rows)
    assert [point.runtime for point in picture.points] == ["torch (PyTorch 2)", "torch (PyTorch 3)", "litert"]
    assert "1 thread (not confirmed by litert)" in picture.subject


def test_results_without_any_value_are_refused_with_a_reason(row):
    with pytest.raises(InputError, match="no result of suite 'box' has a value .*choose another --suite"):
        choose([result("a", None), result("b", None)], [row(model="a")])
    with pytest.raises(InputError, match="the results files hold no result"):
        choose([], [row(model="a")])


def test_choices_that_match_nothing_name_what_there_is(row):
    with pytest.raises(InputError, match="--suite bix: there are the suites box; did you mean box"):
        choose(RESULTS, [row(model="a")], suite="bix")
    with pytest.raises(InputError, match="--runtime openvino: there are the runtimes torch"):
        choose(RESULTS, [row(model="a")], runtimes=["openvino"])
    with pytest.raises(InputError, match="no latency of the part 'decoder'"):
        choose(RESULTS, [row(model="a")], part="decoder")
    with pytest.raises(InputError, match=r"timed are other \(1024 px\), evaluated are a \(1024 px\), b"):
        choose(RESULTS, [row(model="other")])
