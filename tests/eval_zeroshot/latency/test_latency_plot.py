"""Accuracy against latency: what is matched with what, and that a picture comes of it."""

import pytest
from PIL import Image

from encoders.errors import InputError
from eval_zeroshot import Result
from eval_zeroshot.latency.plot import choose, draw, frontier


def result(model, value, *, suite="box", dataset="val", direction="higher"):
    return Result(suite=suite, version="1", protocol="p", model=model, dataset=dataset, value=value, n=9, direction=direction)


RESULTS = [result("a", 0.7), result("b", 0.8), result("alone", 0.9)]


def test_models_are_matched_by_name_and_what_has_only_one_number_is_told(row):
    rows = [row(model="a", p50_ms=30.0), row(model="b", p50_ms=70.0), row(model="timed", p50_ms=5.0)]
    picture = choose(RESULTS, rows)
    assert [(p.model, p.milliseconds, p.accuracy) for p in picture.points] == [("a", 30.0, 0.7), ("b", 70.0, 0.8)]
    assert picture.left_out == ("alone", "timed") and picture.subject == "encoder, a server, 1 thread"


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


def test_choices_that_are_not_there_name_what_is(row):
    with pytest.raises(InputError, match="--suite bix: there are the suites box; did you mean box"):
        choose(RESULTS, [row(model="a")], suite="bix")
    with pytest.raises(InputError, match="--runtime openvino: there are the runtimes torch"):
        choose(RESULTS, [row(model="a")], runtimes=["openvino"])
    with pytest.raises(InputError, match="no latency of the part 'decoder'"):
        choose(RESULTS, [row(model="a")], part="decoder")
    with pytest.raises(InputError, match="timed are other, evaluated are a, b, alone"):
        choose(RESULTS, [row(model="other")])


def test_the_frontier_has_what_none_beats_in_both(row):
    rows = [row(model="a", p50_ms=30.0), row(model="b", p50_ms=70.0), row(model="a", runtime="openvino", p50_ms=80.0)]
    picture = choose(RESULTS, rows)
    assert [(p.model, p.runtime) for p in frontier(picture.points, higher=True)] == [("a", "torch"), ("b", "torch")]
    assert [(p.model, p.runtime) for p in frontier(picture.points, higher=False)] == [("a", "torch")]


def test_a_picture_is_written_whole(row, tmp_path):
    pytest.importorskip("matplotlib")
    rows = [row(model="a", p50_ms=30.0, loaded=True), row(model="b", p50_ms=70.0)]
    rows.append(row(model="b", runtime="openvino", p50_ms=9.0))
    draw(choose(RESULTS, rows), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG" and picture.size == (1200, 750)
        assert len(picture.convert("RGB").getcolors(maxcolors=2**20)) > 20
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
