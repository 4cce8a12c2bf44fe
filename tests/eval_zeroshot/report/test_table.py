import csv
import io
import json
import re
from collections import Counter

import pytest

from eval_zeroshot import Estimate, Result, compare, published_rows
from tests.eval_zeroshot.report.made_results import printed, result


def test_teacher_first_then_students_then_baselines(results):
    rows = [line for line in compare(results).markdown().splitlines() if "0.500" in line]
    names = [row.split("|")[1].strip() for row in rows]
    assert (
        names == ["sam_demo (teacher)", "repvit_m0_9", "tiny_vit", "fill the box (baseline)"] * 3
    )  # summary, two suites


def test_the_numbers_stand_under_their_names():
    text = compare([result("ours", value=0.123456)]).markdown()
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
    text = compare(results).markdown()
    assert "| 3 clicks | 5 clicks | oracle of 3 | agrees with sam_demo |" in text


def test_published_numbers_come_after_a_heading_of_their_own_with_citation_and_protocol(results):
    ours, papers = compare(results, published=True).markdown().split("### Published numbers")
    assert "EdgeSAM" not in ours and "MobileSAM" not in ours
    assert "0.773" in papers and "arXiv:2312.06660" in papers and "Protocol:" in papers
    assert "sam_demo" not in papers
    assert "Published" not in compare(results).markdown()


def test_another_version_of_a_suite_is_another_table(results):
    text = compare([*results, result("new", version="2", protocol="other")]).markdown()
    tables = text.split("####")
    assert [("new" in table, "tiny_vit" in table) for table in tables if "Protocol box" in table] == [
        (False, True),
        (True, False),
    ]
    assert "box mIoU (v2)" in tables[1]


def test_data_sets_are_kept_apart(results):
    text = compare([*results, result("tiny_vit", dataset="lvis")]).markdown()
    assert "box on lvis, n = 1672" in text and "Summary on lvis" not in text


def test_superseded_results_and_different_n_are_said():
    replaced = result("a", model_sha256="1234567890", image_size=512)
    comparison = compare([replaced, result("a", value=0.75, image_size=256), result("b", n=3)])
    assert comparison.notes == (
        "a has several results in box on coco: that with weights 12345678 at 512 px of 0.500 is left out; that at 256 px of "
        "0.750 is shown",
        "box on coco has different numbers of objects: a 1672, b 3",
    )
    assert "0.750" in comparison.markdown() and "| 1672 |" in comparison.markdown()
    assert "different numbers of objects" in printed(comparison, 80)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_every_number_is_readable_at_any_width(results, width):
    text = printed(compare(results, published=True, columns=["all"]), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for number in ("0.500", "0.250", "0.375", "repvit_m0_9"):
        assert text.count(number) >= 3


def test_json_has_everything_and_is_json(results):
    content = json.loads(json.dumps(compare(results, published=True).json(), allow_nan=False))
    measured = [Result.model_validate(each) for group in content["groups"] for each in group["results"]]
    assert sorted(each.to_line() for each in measured) == sorted(each.to_line() for each in results)
    assert len(content["published"]) == len(published_rows())


def test_empty_results_show_a_dash():
    text = compare([result("a", value=None, standard_error=None, n=0), result("b")]).markdown()
    assert "| a | – | – |" in text and "| b | 0.500 | 0.004 |" in text


def test_nothing_to_compare_is_an_empty_table():
    assert compare([]).markdown().strip() == ""


def test_published_rows_have_what_a_number_needs():
    rows = published_rows()
    counts = Counter(row.suite for row in rows)
    others = {"seginw": 7, "saliency": 4, "anomaly": 4, "video": 19}
    assert counts == {"box": 65, "point": 72, "instance": 255, "edges": 35} | others
    assert all(row.protocol and re.search(r"arXiv:|github\.com", row.citation) and row.dataset for row in rows)
    assert all(0 < row.value < (1 if row.unit == "fraction" else 100) for row in rows)
    found = {(row.source, row.dataset, row.model, row.suite, row.metric): row.value for row in rows}
    assert found["EdgeSAM", "COCO val2017", "SAM ViT-H", "box", "box mIoU"] == 77.3
    assert found["EfficientViT-SAM", "COCO val2017", "EfficientViT-SAM-XL1", "point", "5 clicks mIoU"] == 75.3
    assert found["EfficientSAM", "COCO", "MobileSAM", "point", "1 click mIoU"] == 43.7
    assert found["EfficientSAM", "LVIS", "EfficientSAM-S", "point", "1 click mIoU"] == 56.2
    assert found["RepViT-SAM", "COCO", "RepViT-SAM", "instance", "AP"] == 44.4
    assert found["RepViT-SAM", "BSDS500 test", "RepViT-SAM", "edges", "ODS"] == 0.764
    assert found["RepViT-SAM", "DUTS", "RepViT-SAM", "saliency", "MAE ↓"] == 0.066
    # One model, five protocols: why "MobileSAM COCO AP" is ambiguous.
    mobile = sorted(row.value for row in rows if (row.model, row.dataset, row.metric) == ("MobileSAM", "COCO", "AP"))
    assert mobile == [33.1, 38.7, 38.7, 39.4, 41.0, 42.7]  # EdgeSAM's 33.1 with Detic's boxes, 39.4 with ViTDet-H's
    assert {row.suite for row in published_rows(["box"])} == {"box"}


def test_what_a_source_does_not_give_is_a_dash_and_no_row():
    rpn = [row for row in published_rows(["point"]) if row.model == "EdgeSAM-RPN"]
    assert [(row.metric, row.value) for row in rpn] == [("centre point mIoU", 54.3)]
    assert "| EdgeSAM-RPN | 0.543 | – | – |" in compare([], published=True).markdown()


def test_published_numbers_are_fractions_as_measured_ones_with_the_digits_of_their_source(results):
    comparison = compare(results, published=True)
    text = comparison.markdown()
    assert "| EDETR | 0.840 | 0.858 | 0.896 | 0.930 |" in text and "| MobileSAM | 0.7107 |" in text
    assert "which prints percents" in text and "percent\n" not in text
    rows = list(csv.DictReader(io.StringIO(comparison.csv())))
    assert {row["unit"] for row in rows} == {"fraction"} and all(abs(float(row["value"])) <= 1 for row in rows)
    papers = comparison.json()["published"]
    assert {row["unit"] for row in papers} == {"fraction"} and 0.773 in {row["value"] for row in papers}


def test_intervals_and_paired_differences_have_columns_where_there_are_any():
    facts = {"low": 0.481, "high": 0.519, "against": "sam_demo"}
    difference = Estimate(value=-0.011, n=188, low=-0.02, high=0.004)
    teacher = result("sam_demo", role="teacher", low=0.49, high=0.51)
    text = compare([teacher, result("ours", difference=difference, **facts)]).markdown()
    header, _, first, second = (line for line in text.splitlines() if line.startswith("|"))
    assert "| 95 % interval | minus sam_demo | 95 % of the difference |" in header
    assert "| 0.490 … 0.510 | – | – |" in first
    assert "| 0.481 … 0.519 | −0.011 | −0.020 … 0.004 |" in second
    assert "interval" not in compare([result("a")]).markdown()


def test_the_caption_says_what_the_error_is_taken_over():
    objects = compare([result("a")]).markdown()
    assert objects.count("±") == 2 and "± is one standard error over objects" in objects
    photos = result("a", suite="edges", n=3, images=3, skipped={}, protocol="BSDS; ± is a jackknife over photos")
    text = compare([photos]).markdown()
    assert "over objects" not in text and "skipped objects" not in text and "jackknife over photos" in text
    assert "±" not in compare([result("a", standard_error=None)]).markdown()
    both = compare([photos, result("a")]).markdown()
    assert "edges: n = 3 photos" in both and "box: n = 1672 objects" in both


def test_another_protocol_of_a_suite_has_its_name_in_the_title():
    text = compare([result("a", suite="box_edgesam"), result("a", suite="instance_sam")]).markdown()
    assert "| box mIoU (edgesam) |" in text and "| mask AP (sam) |" in text and "| oracle of 3 |" in text


def test_latex_is_a_booktabs_table_with_everything_escaped(results):
    results.append(result("50%_a&b $#{}~^\\ <x>"))
    text = compare(results).latex()
    assert r"50\%\_a\&b \$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}x\textgreater{} & 0.500" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == text.count(r"\end{table}") == 3
    assert r"sam\_demo (teacher) & 0.500 & 0.004" in text and r"box mIoU & $\pm$ & small" in text
    assert not re.search(r"(?<!\\)[_%#]", text.split("\n", 1)[1])  # after the first line, which is a comment
    assert re.findall(r"\\begin\{tabular\}\{(\w+)\}", text) == ["lrrrr", *["l" + 9 * "r"] * 2]  # summary, box, point


def test_csv_has_one_line_a_number_and_nothing_is_lost(results):
    name = 'a, "b"\nc'
    ours = result(name, value=1 / 3, low=0.25, high=0.5, against="x", difference=Estimate(value=-0.01, n=188))
    comparison = compare([*results, ours], published=True)
    rows = list(csv.DictReader(io.StringIO(comparison.csv())))
    measured = [row for row in rows if row["source"] == "measured"]
    assert len(rows) - len(measured) == len(published_rows())
    assert len(measured) == 8 * (1 + 3) + 8 * 4 + 1 + 3 + 2 + 1  # value and sizes, further numbers; those of ours
    mine = {row["metric"]: row for row in measured if row["model"] == name}
    assert set(mine) == {"value", "small", "medium", "large", "agreement", "oracle", "difference"}
    assert float(mine["value"]["value"]) == 1 / 3 and (mine["value"]["low"], mine["value"]["high"]) == ("0.25", "0.5")
    assert (mine["difference"]["value"], mine["difference"]["against"]) == ("-0.01", "x")
    assert (mine["agreement"]["against"], mine["oracle"]["against"], mine["oracle"]["n"]) == ("sam_demo", "", "1672")
    paper = next(row for row in rows if row["source"] == "EdgeSAM")
    assert "arXiv:" in paper["citation"] and paper["protocol"]


def test_a_name_cannot_become_html_or_cells_in_markdown():
    text = compare([result("<b>x|y")]).markdown()
    assert "| &lt;b>x\\|y | 0.500 |" in text
    text = compare([result("a`b` ![x](http://y) *c* &lt; _d_\ne_f")]).markdown()
    assert "| a\\`b\\` ![x\\](http://y) \\*c\\* &amp;lt; \\_d\\_\\\\ne_f | 0.500 |" in text


def test_a_baseline_without_logits_has_no_edges_and_the_table_says_so():
    facts = {"suite": "edges", "protocol": "BSDS", "value": 0.0}
    comparison = compare([result("sam_demo", **(facts | {"value": 0.6})), result("box", role="baseline", **facts)])
    assert comparison.notes == ("box reaches 0 in edges on coco: it has no mask probabilities, which edges are made of",)


def test_two_data_sets_of_one_name_never_share_a_table():
    first, second = (result(model, dataset="val", dataset_sha256=digit * 64) for model, digit in (("a", "1"), ("b", "2")))
    comparison = compare([first, second, result("c", dataset="val", dataset_sha256="1" * 64)])
    assert [[one.model for one in group.results] for group in comparison.groups] == [["a", "c"], ["b"]]
    text = comparison.markdown()
    assert "box on val (annotations 11111111)" in text and "box on val (annotations 22222222)" in text
    assert "2 data sets are called val" in text
    assert "annotations" not in compare([first]).markdown()


def test_models_at_different_input_sizes_say_so():
    text = compare([result("a", image_size=1024), result("b", image_size=512), result("c")]).markdown()
    assert "input px" in text and re.search(r"\| b \|[^\n]*\| 512 \|", text) and re.search(r"\| c \|[^\n]*\| – \|", text)
    assert "input px" not in compare([result("a", image_size=512), result("c")]).markdown()


def test_suites_of_several_detectors_and_versions_are_told_apart_in_the_summary_by_what_differs():
    def found(protocol, **facts):
        return result("a", suite="instance_sam", protocol=protocol, **facts)

    def header(*results):
        return compare(results).markdown().split("\n")[2]

    first, second = found("boxes of x", detector="x.json"), found("boxes of y", detector="y.json")
    assert header(first, second) == (
        "| model | mask AP (sam) (x) | agreement, mask AP (sam) (x) | mask AP (sam) (y) | agreement, mask AP (sam) (y) |"
    )
    assert "(v1)" in header(first, found("boxes of x", detector="x.json", version="2"))
    assert "(protocol 1)" in header(first, found("other words", detector="x.json"))


def test_a_model_without_a_proposal_is_told_why(results):
    nothing = result("a", suite="everything_32", value=0.0, extra={"proposals": Estimate(value=0.0, n=3)})
    assert "no mask passes the thresholds" in compare([nothing]).notes[0]


def test_a_caption_in_latex_is_the_title_and_the_protocol_stands_below(results):
    text = compare(results).latex()
    assert r"\caption{box on coco, n = 1672}" in text
    assert re.search(r"\\end\{tabular\}\n\\par.*Protocol box 1: ground truth", text)


def test_results_without_a_checksum_join_those_of_the_same_name_if_there_is_but_one():
    old, new = result("a", dataset="val"), result("b", dataset="val", dataset_sha256="1" * 64)
    comparison = compare([old, new])
    assert [one.model for one in comparison.groups[0].results] == ["a", "b"]
    assert comparison.groups[0].dataset == "val" and "do not say of which annotations" in comparison.notes[0]
    several = compare([old, new, result("c", dataset="val", dataset_sha256="2" * 64)])
    assert len(several.groups) == 3
