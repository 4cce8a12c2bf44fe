import io
import json

import pytest
from rich.console import Console

from eval_zeroshot import Estimate, Result, compare, published_rows


def result(model: str, suite: str = "box", role: str = "student", **facts) -> Result:
    estimate = Estimate(value=0.25, n=1672)
    given = {
        "value": 0.5,
        "n": 1672,
        "standard_error": 0.004,
        "version": "1",
        "protocol": "ground truth",
        "dataset": "coco",
        "images": 188,
        "skipped": {"crowd": 20, "empty": 0},
        "breakdown": dict.fromkeys(("small", "medium", "large"), estimate),
        "extra": {"agreement": Estimate(value=0.75, n=1672), "oracle": Estimate(value=0.875, n=1672)},
        "reference": "sam_demo",
    }
    return Result(model=model, suite=suite, role=role, **(given | facts))


@pytest.fixture
def results() -> list[Result]:
    names = [("fill the box", "baseline"), ("tiny_vit", "student"), ("repvit_m0_9", "student"), ("sam_demo", "teacher")]
    clicks = {name: Estimate(value=0.375, n=1672) for name in ("click_5", "click_3", "oracle", "agreement")}
    return [result(name, suite, role, extra=clicks) for suite in ("box", "point") for name, role in names]


def printed(comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    comparison.terminal(console)
    return console.file.getvalue()


def test_teacher_first_then_students_then_baselines(results):
    rows = [line for line in compare(results).markdown().splitlines() if "0.500" in line]
    names = [row.split("|")[1].strip() for row in rows]
    assert (
        names == ["sam_demo (teacher)", "repvit_m0_9", "tiny_vit", "fill the box (baseline)"] * 3
    )  # summary, two suites


def test_the_numbers_stand_under_their_names():
    text = compare([result("ours", value=0.123456)], published=False).markdown()
    header, _, row = (line for line in text.splitlines() if line.startswith("|"))
    cells = dict(zip(header.strip("| ").split(" | "), row.strip("| ").split(" | "), strict=True))
    assert cells == {
        "model": "ours",
        "box mIoU": "0.123",
        "±": "0.004",
        "small": "0.250",
        "medium": "0.250",
        "large": "0.250",
        "oracle of 3": "0.875",
        "agrees with sam_demo": "0.750",
    }
    assert "box on coco, n = 1672" in text
    assert "188 photos; skipped objects: 20 crowd, 0 empty" in text


def test_clicks_come_in_their_order(results):
    text = compare(results, published=False).markdown()
    assert "| 3 clicks | 5 clicks | oracle of 3 | agrees with sam_demo |" in text


def test_published_numbers_come_after_a_heading_of_their_own_with_citation_and_protocol(results):
    ours, papers = compare(results).markdown().split("### Published numbers")
    assert "EdgeSAM" not in ours and "MobileSAM" not in ours
    assert "77.3" in papers and "arXiv:2312.06660" in papers and "Protocol:" in papers
    assert "sam_demo" not in papers
    assert "Published" not in compare(results, published=False).markdown()


def test_another_version_of_a_suite_is_another_table(results):
    text = compare([*results, result("new", version="2", protocol="other")], published=False).markdown()
    tables = text.split("####")
    assert [("new" in table, "tiny_vit" in table) for table in tables if "Protocol box" in table] == [
        (False, True),
        (True, False),
    ]
    assert "box mIoU (v2)" in tables[1]


def test_data_sets_are_kept_apart(results):
    text = compare([*results, result("tiny_vit", dataset="lvis")], published=False).markdown()
    assert "box on lvis, n = 1672" in text and "Summary on lvis" not in text


def test_superseded_results_and_different_n_are_said():
    comparison = compare([result("a"), result("a", value=0.75), result("b", n=3)])
    assert comparison.notes == (
        "a has several results in box on coco; the last is shown",
        "box on coco has different numbers of objects: a 1672, b 3",
    )
    assert "0.750" in comparison.markdown() and "| 1672 |" in comparison.markdown()
    assert "different numbers of objects" in printed(comparison, 80)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_every_number_is_readable_at_any_width(results, width):
    text = printed(compare(results), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text.split("Published")[0]
    for number in ("0.500", "0.250", "0.375", "repvit_m0_9"):
        assert text.count(number) >= 3


def test_json_has_everything_and_is_json(results):
    content = json.loads(json.dumps(compare(results).json(), allow_nan=False))
    measured = [Result.model_validate(each) for group in content["groups"] for each in group["results"]]
    assert sorted(each.to_line() for each in measured) == sorted(each.to_line() for each in results)
    assert len(content["published"]) == len(published_rows())


def test_empty_results_show_a_dash():
    assert "| – | – |" in compare([result("a", value=None, standard_error=None, n=0)], published=False).markdown()


def test_nothing_to_compare_is_an_empty_table():
    assert compare([], published=False).markdown().strip() == ""


def test_published_rows_have_what_a_number_needs():
    rows = published_rows()
    assert len(rows) == 12 + 12 + 8 + 6 + 4 + 8 + 16 + (8 + 8 + 20 + 20 + 20 + 16) + 12 + 12
    assert all(row.protocol and "arXiv:" in row.citation and row.dataset for row in rows)
    assert all(0 < row.value < (1 if row.unit == "fraction" else 100) for row in rows)
    found = {(row.source, row.model, row.suite, row.metric): row.value for row in rows}
    assert found["EdgeSAM", "SAM ViT-H", "box", "box mIoU"] == 77.3
    assert found["EfficientViT-SAM", "EfficientViT-SAM-XL1", "point", "5 clicks mIoU"] == 75.3
    assert found["EfficientSAM", "MobileSAM", "point", "1 click mIoU"] == 43.7
    assert found["RepViT-SAM", "RepViT-SAM", "instance", "AP"] == 44.4
    assert found["RepViT-SAM", "RepViT-SAM", "edges", "ODS"] == 0.764
    # One model, four protocols: why "MobileSAM COCO AP" is ambiguous.
    mobile = {row.source: row.value for row in rows if (row.model, row.dataset, row.metric) == ("MobileSAM", "COCO", "AP")}
    assert mobile == {"EdgeSAM": 39.4, "EfficientViT-SAM": 38.7, "TinySAM": 41.0, "RepViT-SAM": 42.7}
    assert {row.suite for row in published_rows(["box"])} == {"box"}
