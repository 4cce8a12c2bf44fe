"""What `repvit-sam eval --help` and its commands' help show."""

import re

import pytest


@pytest.fixture
def shown(command, monkeypatch):
    """The help of `repvit-sam ARGUMENTS` on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "300")

    def show(*arguments):
        code, out, _ = command(*arguments, "--help")
        assert code == 0
        return out

    return show


def test_the_groups_help_shows_the_options_of_models(shown):
    out = shown("eval")
    for words in (r"--model +-m", r"--suite +-s", "--data ", "--reference", "--engine ", "instance ", "edges ", "models "):
        assert re.search(words, out), words
    assert out.count("Show this message and exit") == 1


def test_options_still_mean_models_after_help(shown, command, tmp_path):
    shown("eval")
    code, _, err = command("eval", "-m", "sam_demo", "-s", "nonsense", "--data", "sample:val", "--out", tmp_path / "out.jsonl")
    assert code == 2 and "no suite is called 'nonsense'" in err


@pytest.mark.parametrize("words", [["eval"], ["eval", "models"], ["eval", "instance"], ["eval", "edges"], ["export"]])
def test_paragraphs_are_not_broken_where_the_source_is(shown, words):
    text = shown(*words).split("╭")[0]
    lines = [line.strip() for line in text.splitlines()]
    pairs = [(one, two) for one, two in zip(lines, lines[1:], strict=False) if one and two]
    assert not pairs
