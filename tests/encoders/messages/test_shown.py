import pytest

from encoders.messages.shown import shown, spreadsheet_cell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\x00b\x07\x7f\x9b2J", r"a\x00b\x07\x7f\x9b2J"),
        ("two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("\u2066a\u2069\u200eb\u200f\u202a", r"\u2066a\u2069\u200eb\u200f\u202a"),
        ("a\u2028b\u2029c\u200bd\ufeff", r"a\u2028b\u2029c\u200bd\ufeff"),
        ("file\udcff", r"file\udcff"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, expected):
    assert shown(text) == expected
    assert shown(shown(text)) == expected
    shown(text).encode()  # can be printed, half of a pair of surrogates too


@pytest.mark.parametrize("name", ["repvit_m0_6", "Zürich, 95 % ± 1…", "写真の名前", "שלום", "नमस्ते", "👩\u200d🔬", "a\\b|c`d"])
def test_what_can_be_seen_stays(name):
    assert shown(name) == name


def test_lines_can_be_kept():
    assert shown("one\n\x1btwo", keep="\n") == "one\n\\x1btwo"


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "-inf", "+"]
)
def test_a_formula_becomes_text(formula):
    assert spreadsheet_cell(formula) == f"'{formula}"


@pytest.mark.parametrize("text", ["-5", "+0.25", "-1e-05", "-.5", "repvit_m0_6", "a=b", "", "box@2"])
def test_numbers_and_names_stay(text):
    assert spreadsheet_cell(text) == text
