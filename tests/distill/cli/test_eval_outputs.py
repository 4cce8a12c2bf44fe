"""`repvit-sam eval` and its output: results of earlier calls stay, and what cannot be written or meant is said first."""

import errno
import json
import os
from functools import partial

import pytest

from distill.jobs.evaluate import alone, nothing_measured
from eval_zeroshot import Result, read_results


@pytest.fixture
def evaluated(command, tmp_path):
    """Exit code, stdout and stderr of `repvit-sam eval` on two photos, results in tmp_path/r.jsonl unless said."""

    def run(*arguments, out=tmp_path / "r.jsonl", model="demo=sam_demo"):
        words = ["eval", "-m", model, "--image-size", 64, "--data", "sample:val", "--limit", 2, "--out", out]
        return command(*words, *arguments)

    return run


def test_results_of_other_suites_and_models_stay_and_the_same_ones_are_replaced(evaluated, tmp_path):
    assert evaluated("-s", "box")[0] == 0
    first = (tmp_path / "r.jsonl").read_bytes()
    code, _, err = evaluated("-s", "point", "--baselines")
    assert code == 0 and "holds 1 results of other calls too" in err
    found = {(one.suite, one.model) for one in read_results(tmp_path / "r.jsonl")}
    assert found == {("box", "demo"), ("point", "demo"), ("point", "filled box or disc")}
    (tmp_path / "r.jsonl").write_bytes(first)
    code, _, err = evaluated("-s", "box")
    assert code == 0 and "other calls" not in err and (tmp_path / "r.jsonl").read_bytes() == first


def test_what_cannot_be_written_is_said_before_anything_is_asked(evaluated, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "truth.json").write_text('{"images": []}')
    (tmp_path / "s.state").write_text("x")
    for out, said in (
        (tmp_path, "is a folder; expected the name of a file"),
        (tmp_path / "file" / "r.jsonl", "cannot be made a folder"),
        (tmp_path / "truth.json", "is not a result (value: Field required); expected a results file that"),
        (tmp_path / "s.jsonl", "would be kept in the folder"),
        (tmp_path / "new.state", "would be kept in the folder"),
    ):
        code, stdout, err = evaluated("-s", "box", out=out)
        assert (code, stdout) == (2, "") and said in err and "photo" not in err and "Traceback" not in err
    assert (tmp_path / "truth.json").read_text() == '{"images": []}'


def test_a_full_disk_says_how_to_go_on_at_whatever_file(evaluated, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(arguments[0]) if arguments else None)

    for place in ("pathlib.Path.mkdir", "pathlib.Path.write_text", "os.fsync", "distill.jobs.evaluate.write_results"):
        with monkeypatch.context() as patch:
            patch.setattr(place, lambda *given, **more: full(*(one for one in given if isinstance(one, os.PathLike))))
            code, _, err = evaluated("-s", "box")
        assert code == 2 and "No space left on device" in err, place
        assert err.count("make room there and run the same command again: what was seen so far stays") == 1, place
    assert evaluated("-s", "box")[0] == 0


def test_two_models_of_one_name_are_refused(evaluated):
    code, _, err = evaluated("-s", "box", "-m", "demo=other")
    assert code == 2 and "sam_demo and other are both called 'demo'; name them apart: -m NAME=MODEL" in err
    code, _, err = evaluated("-s", "box", "--untrained", "repvit_m0_6", model="untrained repvit_m0_6=sam_demo")
    assert code == 2 and "two models are called 'untrained repvit_m0_6'" in err
    code, _, err = evaluated("-s", "box", "--baselines", model="filled box or disc=sam_demo")
    assert code == 2 and "two models are called 'filled box or disc'" in err
    for text in ("=sam_demo", "demo="):
        assert "expected MODEL or NAME=MODEL" in evaluated("-s", "box", model=text)[2]


def test_a_suite_given_twice_is_asked_once(evaluated):
    code, out, _ = evaluated("-s", "box", "-s", "box", "--json")
    assert code == 0 and len(out.splitlines()) == 1


def test_names_of_models_that_nearly_fit_are_told(evaluated):
    assert "did you mean demo?" in evaluated("-s", "box", "--reference", "demmo")[2]


def test_nothing_to_measure_is_said(command, tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "images" / "a.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [3, 2, 7, 10], "area": 70, "iscrowd": 1}
    square["segmentation"] = [[3, 2, 10, 2, 10, 12, 3, 12]]
    images = [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}]
    content = {"images": images, "annotations": [square], "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    run = partial(command, "eval", "-m", "sam_demo", "--image-size", 64, "-s", "box", "--out", tmp_path / "r.jsonl")
    code, _, err = run("--data", tmp_path / "instances.json")
    assert code == 0 and "note: box on " in err and "nothing to measure; 1 crowd" in err


def test_what_measured_nothing_is_said_once_with_the_models_if_it_is_not_all():
    def made(suite, model, value=None, **skipped):
        given = {"version": "1", "protocol": "p", "dataset": "d", "n": 0}
        return Result(suite=suite, model=model, value=value, skipped=skipped, **given)

    results = [made("box", "a", crowd=3), made("box", "b", crowd=3), made("video", "a"), made("video", "b", value=0.5)]
    assert nothing_measured(results) == [
        "box on d: nothing to measure; 3 crowd",
        "video on d for a: nothing to measure; no objects",
    ]


def test_two_calls_with_one_results_file_do_not_run_at_once(evaluated, tmp_path):
    with alone(tmp_path / "r.jsonl"):
        code, _, err = evaluated("-s", "box")
        assert code == 2 and "is being written by another process" in err and "choose another --out" in err
        code, _, err = evaluated("-s", "box", "--num-processes", 2)
        assert code == 2 and "is being written by another process" in err
        assert not (tmp_path / "r.jsonl").exists()
    assert evaluated("-s", "box")[0] == 0


def test_a_call_that_fails_leaves_no_folder_and_one_that_ends_no_lock(evaluated, tmp_path):
    assert evaluated("-s", "box", model="demo=nowhere.pt")[0] == 2
    assert list(tmp_path.iterdir()) == []
    assert evaluated("-s", "box")[0] == 0
    assert sorted(path.suffix for path in (tmp_path / "r.state").iterdir()) == ["", ".jsonl"]
    assert (tmp_path / "r.state" / ".gitignore").read_text() == "*\n"


def test_a_number_changed_in_a_results_file_is_in_no_table(command, evaluated, tmp_path):
    assert evaluated("-s", "box")[0] == 0
    path = tmp_path / "r.jsonl"
    path.write_text(path.read_text().replace('"value": 0', '"value": 9', 1))
    for words in (["compare", path], ["compare", path, "--json"], ["compare", path, "--html", tmp_path / "p.html"]):
        code, out, err = command(*words)
        assert (code, out) == (2, "") and "r.jsonl, line 1, was changed after it was written" in err
