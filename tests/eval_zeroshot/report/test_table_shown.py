"""What a terminal shows at its width, which columns are chosen, and that no name does harm where it is shown."""

import csv
import io

import pytest
from rich.cells import cell_len

from encoders.errors import InputError
from eval_zeroshot import Estimate, compare
from tests.eval_zeroshot.report.made_results import printed, result


def test_a_terminal_shows_the_summary_and_one_table_a_suite_in_80_columns(results):
    many = dict.fromkeys(("click_2", "click_3", "click_5", "oracle", "ece", "stability", "agreement"), Estimate(value=0.3, n=9))
    given = [one.model_copy(update={"low": 0.4, "high": 0.6, "extra": many}) for one in results]
    text = printed(compare(given), 80)
    assert text.startswith("Summary on coco\n") and "Published" not in text and "(continued)" not in text
    assert text.count("─" * 10 + "\n") == 3 and text.count("box on coco") == text.count("point on coco") == 1
    assert "95 % interval" in text and "Also measured: ±; " in text and "--columns all" in text
    whole = printed(compare(given, columns=["all"]), 80)
    assert "Also measured" not in whole and "stability" in whole and "(continued)" in whole


def test_a_wide_terminal_leaves_nothing_out_and_a_narrow_one_keeps_what_differs(results):
    assert "Also measured" not in printed(compare(results), 140)
    text = printed(compare([result("a", image_size=512, padding=False, n=3), result("b", image_size=256)]), 40)
    assert all(word in text for word in ("input", "padding", "1672", "Also measured: ±; small; medium; large"))


def test_columns_are_those_asked_for_in_their_order(results):
    boxes = [result(one.model, role=one.role) for one in results[:4]]
    results = [*boxes, *results[4:]]
    comparison = compare(results, columns=["large", "value", "click_3"])
    summary, box, point = [text for text in comparison.markdown().split("####") if text.strip()]
    assert "| model | large | box mIoU |\n" in box and "| model | large | 1 click mIoU | 3 clicks |\n" in point
    assert "| box mIoU | agreement, box mIoU |" in summary
    assert "agrees with" not in printed(comparison, 140) and "agrees with" not in comparison.latex()
    only_clicks = compare(results, columns=["click_5"]).markdown()
    assert "| model | box mIoU |\n" in only_clicks and "| model | 5 clicks |\n" in only_clicks
    assert comparison.csv() == compare(results).csv() and comparison.json() == compare(results).json()
    with pytest.raises(InputError, match="--columns smal: .*did you mean small.; of these suites there are all, model"):
        compare(results, columns=["smal"])


@pytest.mark.parametrize("width", [24, 80])
@pytest.mark.parametrize("name", ["n" * 60, "a name of many words that goes on and on and on, to the end", "写真の名前" * 6])
def test_long_names_go_on_below_themselves_and_numbers_stay_in_their_columns(name, width):
    other = result("b", against=name, difference=Estimate(value=-0.25, n=9, low=-0.5, high=0.125), reference=name)
    text = printed(compare([result(name), other, result(name, suite="point")], columns=["all"]), width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "…" not in text.replace("−0.500 … 0.125", "").replace("−0.500 … 0.1", "")
    names = printed(compare([result(name), result("b")], columns=["value"]), width)
    rows = [line for line in names.splitlines() if "0.500" in line]
    assert {cell_len(line[: line.index("0.500")]) for line in rows} == {cell_len(rows[0][: rows[0].index("0.500")])}
    table = names.partition("─\n")[2].partition("Protocol")[0].replace("0.500", "").replace("b", "")
    assert "".join(table.split()) == "".join(name.split())


def test_one_model_and_models_without_a_suite_have_their_tables():
    alone = printed(compare([result("ours")]), 80)
    assert "Summary" not in alone and alone.count("ours") == 1 and "0.500" in alone
    text = printed(compare([result("a"), result("b"), result("b", suite="point")]), 80)
    rows = [line.split() for line in text.splitlines() if line.startswith(("a ", "b "))]
    assert rows[0][-2:] == ["–", "–"] and rows[1].count("0.500") == 2  # the summary
    assert len(rows) == 5  # summary, box with both, point with b


EVIL = "\x1b[31mred\x1b[0m \u202egnp.exe\x9b"
SHOWN = r"\x1b[31mred\x1b[0m \u202egnp.exe\x9b"


def test_names_cannot_command_a_terminal_nor_turn_a_line_around():
    given = [result(EVIL, dataset=EVIL, against=EVIL, reference=EVIL, protocol=EVIL), result(EVIL, dataset=EVIL, value=0.25)]
    comparison = compare([*given, result("[bold]:bomb:", dataset=EVIL, n=3)], columns=["all"])
    terminal, markdown = printed(comparison, 300), comparison.markdown()
    assert terminal.count(SHOWN) >= 4 and "[bold]:bomb:" in terminal and markdown.count(SHOWN.replace("\\", "\\\\")) >= 4
    for text in (terminal, markdown, comparison.latex(), comparison.plain(), comparison.csv()):
        assert not set(text) & set("\x1b\u202e\x9b")


def test_a_spreadsheet_computes_no_name():
    names = ['=HYPERLINK("http://x","y")', "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"]
    text = compare([result(name, against=name, difference=Estimate(value=-0.5, n=2)) for name in [*names, "-5"]]).csv()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["model"] for row in rows} == {*(f"'{name}" for name in names[:-1]), r"\r=1", "-5"}
    assert {row["value"] for row in rows if row["metric"] == "difference"} == {"-0.5"}
    assert not [cell for row in rows for cell in row.values() if cell[:1] in {*"=@+\t\r"}]
