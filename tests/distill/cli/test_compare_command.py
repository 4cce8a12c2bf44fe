"""`repvit-sam compare`: every format to a file or to stdout, the page, what is refused."""

import csv
import json
from functools import partial

import pytest

from eval_zeroshot import FillBox, box_iou, evaluate, open_dataset, write_results


@pytest.fixture
def compare(command):
    """Exit code, stdout and stderr of `repvit-sam compare ARGUMENTS`, in this process."""
    return partial(command, "compare")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two box fillers on two photos of the shipped sample."""
    from distill.jobs.sample_data import resolve_data

    path = tmp_path_factory.mktemp("eval") / "results.jsonl"
    samples = open_dataset(resolve_data("sample:val"), limit=2)
    models = {"one": FillBox(), "two": FillBox(0.1)}
    write_results(path, evaluate(models, suites=[box_iou], samples=samples, state=path.with_suffix(".state")))
    return path


@pytest.mark.parametrize(
    ("format_", "begins"), [("markdown", "#### box on val[:2]"), ("latex", "% needs"), ("csv", "source,"), ("json", "{")]
)
def test_a_format_says_the_same_in_a_file_as_on_stdout(compare, results, tmp_path, format_, begins):
    code, out, err = compare(results, "--format", format_)
    assert (code, err) == (0, "") and out.startswith(begins)
    assert compare(results, "--format", format_, "--out", tmp_path / "deep" / "file")[:2] == (0, "")
    assert (tmp_path / "deep" / "file").read_text() == out


def test_the_terminals_table_goes_into_a_file_too(compare, results, tmp_path):
    assert compare(results, "--out", tmp_path / "table.txt")[:2] == (0, "")
    text = (tmp_path / "table.txt").read_text()
    assert "one (baseline)" in text and "\x1b" not in text and "Published" not in text


def test_json_and_csv_are_machine_readable(compare, results):
    found = json.loads(compare(results, "--json")[1])
    value = found["groups"][0]["results"][0]["value"]
    rows = list(csv.DictReader(compare(results, "-f", "csv")[1].splitlines()))
    assert {float(row["value"]) for row in rows if row["metric"] == "value"} == {value}


def test_the_page_with_its_gallery(compare, results, tmp_path):
    page = tmp_path / "deep" / "page.html"
    code, out, err = compare(results, "--html", page, "--data", "sample:val", "--gallery-of", "two")
    assert (code, out.strip(), err) == (0, str(page), "")
    text = page.read_text()
    assert "Worst cases of two" in text and "data:image/jpeg;base64," in text and "Published numbers" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "word"], "expected one of terminal, markdown, latex, csv, json"),
        (["--data", "sample:val"], "give --html PAGE.html too"),
        (["--columns", "valu"], "did you mean value?; of these suites there are all, model, value, error, interval,"),
        (["--columns", "box miou"], "did you mean value?"),
        (["--columns", "VALUE"], "did you mean value?"),
        (["--columns", "zzz"], "no table has this column; of these suites there are"),
        (["--columns", " ,"], "--columns ' ,' names no column; give some"),
        (["--columns", "value", "-f", "csv"], "--columns is for the tables of terminal, markdown and latex; csv has all"),
        (["--columns", "value", "--html", "page.html"], "the page has all"),
        (["--html", "page.html", "--gallery-of", "onee"], "did you mean one?"),
    ],
)
def test_what_cannot_be_done_is_said(compare, results, arguments, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, err = compare(results, *arguments)
    assert code == 2 and said in err
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written_and_files_without_results(compare, results, tmp_path):
    for option in ("--out", "--html"):
        code, _, err = compare(results, option, tmp_path)
        assert code == 2 and "is a folder; expected the name of a file" in err
    (tmp_path / "empty.jsonl").write_text("")
    code, _, err = compare(tmp_path / "empty.jsonl")
    assert code == 2 and "no result in it; expected a results file that `repvit-sam eval --out` wrote" in err
    (tmp_path / "truth.json").write_text('{"images": []}')
    (tmp_path / "rows.jsonl").write_text('{"model": "x", "milliseconds": 3}\n')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\n\x10JFIF\n")
    for name in ("truth.json", "rows.jsonl", "list.json", "photo.jpg", "nowhere.jsonl", ""):
        code, _, err = compare(tmp_path / name)
        assert code == 2 and str(tmp_path / name) in err
        assert err.count("expected a") == 1 and "expected a results file that `repvit-sam eval --out` wrote" in err


def test_a_gallery_that_cannot_be_shown_is_told(compare, results, tmp_path):
    code, _, err = compare(results, "--html", tmp_path / "page.html", "--data", "sample:train")
    assert code == 0 and "note: The gallery needs the photos of val[:2]; --data gave train." in err


def test_a_split_is_for_the_data_sets_that_have_one(compare, results, tmp_path, shared_data):
    page = ["--html", tmp_path / "page.html", "--data", "sample:val"]
    code, _, err = compare(results, *page, "--data", shared_data / "bsds500", "--split", "test")
    assert (code, err) == (0, "")
    code, _, err = compare(results, *page, "--split", "test")
    assert code == 2 and "--split test: no data set of sample:val has splits; leave it out" in err


def test_published_numbers_come_on_request_in_every_format_and_on_the_page(compare, results, tmp_path):
    for format_ in ("terminal", "markdown", "latex", "csv", "json"):
        assert "EdgeSAM" not in compare(results, "-f", format_)[1]
        assert "EdgeSAM" in compare(results, "-f", format_, "--published")[1]
    page, table = tmp_path / "page.html", tmp_path / "table.md"
    compare(results, "--html", page, "-f", "markdown", "--out", table)
    assert "EdgeSAM" in page.read_text() and "EdgeSAM" not in table.read_text()
    compare(results, "--html", page, "--no-published")
    assert "EdgeSAM" not in page.read_text()


def test_columns_are_chosen(compare, results):
    code, out, _ = compare(results, "-f", "markdown", "--columns", "large, value")
    assert code == 0 and "| model | large | box mIoU |\n" in out
